-- Links are followed for a fixed number of steps. Identifiers that a link joins are one person, or there are too few of
-- them: raise `steps` in int_person_ids. An address that came with somebody joins nobody.
with

identities as (

    select * from {{ ref('int_person_identities') }}

),

pairs as (

    select * from {{ ref('int_person_links') }}

),

person_ids as (

    select * from {{ ref('int_person_ids') }}

),

owned_addresses as (

    select email_identifier as identifier
    from identities
    where
        email_identifier is not null
        and coalesce(cio_identifier, customer_identifier) is not null

),

links as (

    select
        customer_identifier as identifier_a,
        cio_identifier as identifier_b
    from identities
    where
        customer_identifier is not null
        and cio_identifier is not null

    union

    select
        identifier_a,
        identifier_b
    from pairs
    where
        identifier_a not in (select identifier from owned_addresses)
        and identifier_b not in (select identifier from owned_addresses)

)

select
    links.identifier_a,
    links.identifier_b
from links
inner join person_ids as persons_a
    on links.identifier_a = persons_a.identifier
inner join person_ids as persons_b
    on links.identifier_b = persons_b.identifier
where persons_a.person_key != persons_b.person_key
