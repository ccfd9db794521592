{# What is counted per person: each is a JSON object of members and how often they occurred. #}
{% macro person_counts() -%}
    {{ return([
        'campaigns', 'journeys', 'channels', 'subjects', 'events', 'human_events', 'urls', 'human_urls', 'open_hours',
        'human_open_hours', 'copies',
    ]) }}
{%- endmacro %}


{# What is kept of the latest time only: objects of members and text that sorts by time. #}
{% macro person_latest() -%}
    {{ return(['latest_events', 'latest_copies']) }}
{%- endmacro %}


{# CTEs that end with one of the given name: of the rows of `members` (the keys, kind, member, amount, latest) one row
   per keys, with an object per kind. Members stand in order, so that equal content is equal text. `summed` says that
   `members` has a member of a kind once per keys. #}
{% macro person_objects(members, keys, name, summed=false) -%}
{% if not summed -%}
{{ name }}_summed as (

    select
        {{ keys | join(',\n        ') }},
        kind,
        member,
        sum(amount) as amount,
        max(latest) as latest
    from {{ members }}
    group by {{ keys | join(', ') }}, kind, member

),

{% endif -%}
{{ name }}_written as (

    select
        {{ keys | join(',\n        ') }},
        kind,
        member,
        {{ json_string('member') }} || ':' || coalesce({{ json_string('latest') }}, cast(amount as {{ dbt.type_string() }})) as written
    from {{ members if summed else name ~ '_summed' }}

),

{{ name }} as (

    select
        {{ keys | join(',\n        ') }}
        {%- for kind in person_counts() + person_latest() %},
        '{' || coalesce(
            {{ listagg_where("kind = '" ~ kind ~ "'", 'written', 'member') }}, ''
        ) || '}' as {{ kind }}
        {%- endfor %}
    from {{ name }}_written
    group by {{ keys | join(', ') }}

)
{%- endmacro %}


{# The select of the members of all objects of a relation's rows, as person_objects() reads them. #}
{% macro person_members(relation, keys) -%}
    {%- for kind in person_counts() + person_latest() %}
    {%- if not loop.first %}

    union all

    {% endif %}
    select
        {{ keys | join(',\n        ') }},
        '{{ kind }}' as kind,
        member_key as member,
        {%- if kind in person_latest() %}
        0 as amount,
        member_value as latest
        {%- else %}
        cast(member_value as {{ dbt.type_bigint() }}) as amount,
        null as latest
        {%- endif %}
    from (
        {{ json_members(relation, keys, kind) }}
    ) as {{ kind }}_members
    {%- endfor %}
{%- endmacro %}


{# The select of what the rows of int_person_days count, as person_objects() reads it. A member of a kind is one row per
   keys. #}
{% macro members_of_days(relation, keys) -%}
    {%- set name = "channel || '_' || metric" -%}
    {%- set is_open = "channel = 'email' and metric = 'opened'" -%}
    {%- set is_active = "metric in ('opened', 'clicked')" -%}
    {%- set members = [
        ('campaigns', 'cast(campaign_id as ' ~ dbt.type_string() ~ ')', 'true'),
        ('journeys', 'journey_id', 'true'),
        ('channels', 'channel', 'true'),
        ('subjects', 'subject', 'true'),
        ('events', name, 'true'),
        ('human_events', name, 'not is_machine'),
        ('urls', 'url_hash', 'true'),
        ('human_urls', 'url_hash', 'not is_machine'),
        ('open_hours', 'hour_of_day', is_open),
        ('human_open_hours', 'hour_of_day', 'not is_machine and ' ~ is_open),
        ('copies', 'copy_id', 'is_copy_sent'),
    ] -%}
    {%- set latest = [
        (name, 'true'),
        ("'human_' || " ~ name, 'not is_machine and ' ~ is_active),
        ("'active'", is_active),
        ("'human_active'", 'not is_machine and ' ~ is_active),
    ] -%}
    {%- for kind, member, condition in members %}
    select
        {{ keys | join(',\n        ') }},
        '{{ kind }}' as kind,
        {{ member }} as member,
        cast(sum(events_counted) as {{ dbt.type_bigint() }}) as amount,
        null as latest
    from {{ relation }}
    where
        {{ member }} is not null
        and {{ condition }}
    group by {{ keys | join(', ') }}, {{ member }}

    union all

    {% endfor -%}
    select
        {{ keys | join(',\n        ') }},
        'latest_events' as kind,
        member,
        0 as amount,
        {{ ordered_key(timestamp_to_unix('max(last_event_at)'), "''") }} as latest
    from (
        {%- for member, condition in latest %}
        select
            {{ keys | join(',\n            ') }},
            {{ member }} as member,
            last_event_at
        from {{ relation }}
        where {{ condition }}
        {%- if not loop.last %}

        union all

        {% endif -%}
        {%- endfor %}
    ) as named
    where member is not null
    group by {{ keys | join(', ') }}, member

    union all

    select
        {{ keys | join(',\n        ') }},
        'latest_copies' as kind,
        template_id as member,
        0 as amount,
        max({{ ordered_key(timestamp_to_unix('last_event_at'), 'copy_id') }}) as latest
    from {{ relation }}
    where
        template_id is not null
        and is_copy_sent
    group by {{ keys | join(', ') }}, template_id
{%- endmacro %}


{# A text as JSON writes it. #}
{% macro json_string(value) -%}
    {{ adapter.dispatch('json_string')(value) }}
{%- endmacro %}

{% macro duckdb__json_string(value) -%}
    cast(to_json(cast({{ value }} as varchar)) as varchar)
{%- endmacro %}

{% macro snowflake__json_string(value) -%}
    to_json(to_variant(cast({{ value }} as varchar)))
{%- endmacro %}


{# The names of the members of a JSON object that is text, as a JSON array that is text; null where it has none. #}
{% macro json_names(json_text) -%}
    {{ adapter.dispatch('json_names')(json_text) }}
{%- endmacro %}

{% macro duckdb__json_names(json_text) -%}
    nullif(cast(to_json(json_keys({{ json_text }})) as varchar), '[]')
{%- endmacro %}

{% macro snowflake__json_names(json_text) -%}
    nullif(to_json(array_sort(object_keys(try_parse_json({{ json_text }}, 'd')))), '[]')
{%- endmacro %}


{# A link without scheme, query and fragment. #}
{% macro main_url(href) -%}
    {{ replace_matches(replace_matches(href, '[?#].*$', ''), '^[A-Za-z]+://', '') }}
{%- endmacro %}


{# The hour of the day, UTC, as two digits. #}
{% macro hour_of_day(moment) -%}
    lpad(cast(extract(hour from {{ moment }}) as {{ dbt.type_string() }}), 2, '0')
{%- endmacro %}
