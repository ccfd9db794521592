{# Rebuilt whole in each run, in time that grows with the number of people: most of them are linked to nobody else, and
   only the others are followed from link to link. #}
{{ config(meta={'records_batches': true}) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

{% set steps = 16 %}

with

identities as (

    select * from {{ ref('int_person_identities') }}

),

person_links as (

    select * from {{ ref('int_person_links') }}

),

owned_addresses as (

    select distinct email_identifier as identifier
    from identities
    where
        email_identifier is not null
        and coalesce(cio_identifier, customer_identifier) is not null

),

-- an address that came with somebody is theirs, and joins nobody who is merged by it
pairs as (

    select
        person_links.identifier_a,
        person_links.identifier_b
    from person_links
    left join owned_addresses as owned_a
        on person_links.identifier_a = owned_a.identifier
    left join owned_addresses as owned_b
        on person_links.identifier_b = owned_b.identifier
    where
        owned_a.identifier is null
        and owned_b.identifier is null

),

{{ linked_identifiers('identities', 'pairs', 'linked', steps) }},

seen as (

    select
        customer_identifier as identifier,
        last_seen_at
    from identities
    where customer_identifier is not null

    union all

    select
        cio_identifier as identifier,
        last_seen_at
    from identities
    where cio_identifier is not null

    union all

    select
        email_identifier as identifier,
        last_seen_at
    from identities
    where email_identifier is not null

    union all

    select
        identifier,
        null as last_seen_at
    from linked

),

last_seen as (

    select
        identifier,
        max(last_seen_at) as last_seen_at
    from seen
    group by identifier

),

-- of an address: the person that it came with, the last one in an order without ties
ranked_owners as (

    select
        identities.email_identifier as identifier,
        coalesce(linked.smallest, identities.cio_identifier, identities.customer_identifier) as smallest,
        row_number() over (
            partition by identities.email_identifier
            order by
                identities.last_seen_at desc nulls last,
                coalesce(linked.smallest, identities.cio_identifier, identities.customer_identifier)
        ) as place
    from identities
    left join linked
        on coalesce(identities.cio_identifier, identities.customer_identifier) = linked.identifier
    where
        identities.email_identifier is not null
        and coalesce(identities.cio_identifier, identities.customer_identifier) is not null

),

owners as (

    select
        identifier,
        smallest
    from ranked_owners
    where place = 1

),

persons as (

    select
        last_seen.identifier,
        coalesce(owners.smallest, linked.smallest, last_seen.identifier) as smallest,
        last_seen.last_seen_at
    from last_seen
    left join linked
        on last_seen.identifier = linked.identifier
    left join owners
        on last_seen.identifier = owners.identifier

),

final as (

    select
        identifier,
        {{ identifier_kind('identifier') }} as identifier_type,
        {{ identifier_value('identifier') }} as identifier_value,
        md5(smallest) as person_key,
        last_seen_at
    from persons

)

select * from final
