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
    nullif(lower(trim({{ email }})), '')
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
