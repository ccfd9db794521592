{# A person's identifier of one kind, as text that holds both; null where the value is null. #}
{% macro identifier_of(kind, value) -%}
    '{{ kind }}:' || {{ value }}
{%- endmacro %}


{% macro identifier_kind(identifier) -%}
    split_part({{ identifier }}, ':', 1)
{%- endmacro %}


{% macro identifier_value(identifier) -%}
    substr({{ identifier }}, {{ dbt.position("':'", identifier) }} + 1)
{%- endmacro %}


{# The identifier under which an event's person is counted: the strongest that the event has. #}
{% macro strongest_identifier(customer_id, cio_id, email) -%}
    coalesce(
            {{ identifier_of('customer_id', customer_id) }},
            {{ identifier_of('cio_id', cio_id) }},
            {{ identifier_of('email', email) }}
        )
{%- endmacro %}


{# An address as people compare them: whoever writes it in capitals means the same one. #}
{% macro plain_email(email) -%}
    nullif(lower({{ without_spaces(email) }}), '')
{%- endmacro %}


{# The address that an event of a webhook has for its person. The recipient is one only of an email. #}
{% macro email_of_event(channel, email, email_address, recipient) -%}
    {%- set of_channel = 'case when ' ~ channel ~ " = 'email' then " ~ recipient ~ ' end' -%}
    {{ plain_email('coalesce(' ~ [email, email_address, of_channel] | join(', ') ~ ')') }}
{%- endmacro %}


{# CTEs that end with one of the given name: the rows of `members` (link_id, identifier) with the smallest identifier of
   all that links connect, up to so many links away. A window carries it from member to member of a link, another one from
   link to link of a member. Each step reads the one before once: neither engine computes a step twice, and a circle of
   links cannot go on for ever, as it does in a recursive query of Snowflake, which knows no distinct rows. #}
{% macro connected(members, name, steps) -%}
{{ name }}_0 as (

    select
        link_id,
        identifier,
        identifier as smallest
    from {{ members }}

),

{% for step in range(1, steps + 1) -%}
{{ name }}_links_{{ step }} as (

    select
        link_id,
        identifier,
        min(smallest) over (partition by link_id) as smallest
    from {{ name }}_{{ step - 1 }}

),

{{ name }}_{{ step }} as (

    select
        link_id,
        identifier,
        min(smallest) over (partition by identifier) as smallest
    from {{ name }}_links_{{ step }}

),

{% endfor -%}
{{ name }} as (

    select distinct
        identifier,
        smallest
    from {{ name }}_{{ steps }}

)
{%- endmacro %}


{# CTEs that end with one of the given name: each identifier that is linked to another one, with the smallest of all
   that are. `identities` and `pairs` are CTEs. Most are linked to one other, and only the rest is followed. #}
{% macro linked_identifiers(identities, pairs, name, steps) -%}
-- an id and a cio_id that came together are one person; an address links nobody
links as (

    select
        customer_identifier as identifier_a,
        cio_identifier as identifier_b
    from {{ identities }}
    where
        customer_identifier is not null
        and cio_identifier is not null

    union

    select
        identifier_a,
        identifier_b
    from {{ pairs }}
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
    from {{ rows_of_any('links', 'links', [
        {'on': {'identifier_a': 'identifier'}, 'of': 'followed'},
        {'on': {'identifier_b': 'identifier'}, 'of': 'followed'},
    ]) }}

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

{{ name }} as (

    select
        groups.identifier,
        coalesce(connected.smallest, least(groups.identifier, groups.other)) as smallest
    from groups
    left join connected
        on groups.identifier = connected.identifier

)
{%- endmacro %}
