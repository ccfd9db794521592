{# Rebuilt whole in each run, in time that grows with the number of people: most of them are linked to nobody else, and
   only the others are followed from link to link. #}
{% set steps = 16 %}

with

identities as (

    select * from {{ ref('int_person_identities') }}

),

pairs as (

    select * from {{ ref('int_person_links') }}

),

-- an id and a cio_id that came together are one person; an address links nobody
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
    where identifier_a != identifier_b

),

both_ends as (

    select
        identifier_a as identifier,
        identifier_b as other
    from links

    union all

    select
        identifier_b as identifier,
        identifier_a as other
    from links

),

-- whose members have several links is one of a group
groups as (

    select
        identifier,
        count(*) as links_counted,
        min(other) as other
    from both_ends
    group by identifier

),

followed as (

    select groups.identifier
    from groups
    inner join groups as others
        on groups.other = others.identifier
    where groups.links_counted > 1 or others.links_counted > 1

),

followed_links as (

    select
        identifier_a,
        identifier_b
    from links
    where
        identifier_a in (select identifier from followed)
        or identifier_b in (select identifier from followed)

),

members as (

    select
        identifier_a || ' ' || identifier_b as link_id,
        identifier_a as identifier
    from followed_links

    union all

    select
        identifier_a || ' ' || identifier_b as link_id,
        identifier_b as identifier
    from followed_links

),

{{ connected('members', 'connected', steps) }},

linked as (

    select
        groups.identifier,
        coalesce(connected.smallest, least(groups.identifier, groups.other)) as smallest
    from groups
    left join connected
        on groups.identifier = connected.identifier

),

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
