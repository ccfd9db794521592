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


{# CTEs that end with one of the given name: each row of `people`, which has the keys, with the given columns and an
   object per kind. `members` has, by kind, a select of the keys, member and amount, or latest; a member is there once
   per keys. Members stand in order, so that equal content is equal text. #}
{% macro person_objects(people, columns, keys, name, members) -%}
{%- set kinds = person_counts() + person_latest() -%}
{%- for kind in kinds -%}
{%- set value = json_string('latest') if kind in person_latest() else 'cast(amount as ' ~ dbt.type_string() ~ ')' -%}
{{ name }}_{{ kind }} as (

    select
        {{ keys | join(',\n        ') }},
        {{ listagg_in_order(json_string('member') ~ " || ':' || " ~ value, 'member') }} as members
    from (
        {{ members[kind] | trim | indent(4) }}
    ) as members
    group by {{ keys | join(', ') }}

),

{% endfor -%}
{{ name }} as (

    select
        {{ columns_of(people, columns) }}
        {%- for kind in kinds %},
        '{' || coalesce({{ name }}_{{ kind }}.members, '') || '}' as {{ kind }}
        {%- endfor %}
    from {{ people }}
    {%- for kind in kinds %}
    left join {{ name }}_{{ kind }}
        on {% for key in keys %}{{ people }}.{{ key }} = {{ name }}_{{ kind }}.{{ key }}{{ ' and ' if not loop.last }}{% endfor %}
    {%- endfor %}

)
{%- endmacro %}


{# By kind, the select of the members of that object of a relation's rows, summed up, as person_objects() reads them. #}
{% macro person_members(relation, keys) -%}
    {%- set members = {} -%}
    {%- for kind in person_counts() + person_latest() -%}
        {%- set select -%}
    select
        {{ keys | join(',\n        ') }},
        member_key as member,
        {{ 'max(member_value) as latest' if kind in person_latest()
            else 'sum(cast(member_value as ' ~ dbt.type_bigint() ~ ')) as amount' }}
    from (
        {{ json_members(relation, keys, kind) }}
    ) as {{ kind }}_members
    group by {{ keys | join(', ') }}, member_key
        {%- endset -%}
        {%- do members.update({kind: select}) -%}
    {%- endfor -%}
    {{ return(members) }}
{%- endmacro %}


{# The select of the events by name of the rows of int_person_days, which members_of_days() reads. Four times as many
   names as one grouping gives would be grouped, if each object had its own. #}
{% macro names_of_days(relation, keys) -%}
    {%- set name = "channel || '_' || metric" -%}
    {%- set is_active = "metric in ('opened', 'clicked')" -%}
    select
        {{ keys | join(',\n        ') }},
        {{ name }} as member,
        sum(events_counted) as amount,
        sum(case when not is_machine then events_counted end) as human_amount,
        max(last_event_at) as last_event_at,
        max(case when {{ is_active }} then last_event_at end) as last_active_at,
        max(case when not is_machine and {{ is_active }} then last_event_at end) as last_human_active_at
    from {{ relation }}
    where {{ name }} is not null
    group by {{ keys | join(', ') }}, {{ name }}
{%- endmacro %}


{# By kind, the select of what the rows of int_person_days count, as person_objects() reads it. `names` is the CTE of
   names_of_days(). #}
{% macro members_of_days(relation, names, keys) -%}
    {%- set is_open = "channel = 'email' and metric = 'opened'" -%}
    {%- set counted = [
        ('campaigns', 'cast(campaign_id as ' ~ dbt.type_string() ~ ')', 'true'),
        ('journeys', 'journey_id', 'true'),
        ('channels', 'channel', 'true'),
        ('subjects', 'subject', 'true'),
        ('urls', 'url_hash', 'true'),
        ('human_urls', 'url_hash', 'not is_machine'),
        ('open_hours', 'hour_of_day', is_open),
        ('human_open_hours', 'hour_of_day', 'not is_machine and ' ~ is_open),
        ('copies', 'copy_id', 'is_copy_sent'),
    ] -%}
    {%- set latest = [
        ('member', 'last_event_at'),
        ("'human_' || member", 'last_human_active_at'),
        ("'active'", 'last_active_at'),
        ("'human_active'", 'last_human_active_at'),
    ] -%}
    {%- set members = {} -%}
    {%- for kind, member, condition in counted -%}
        {%- set select -%}
    select
        {{ keys | join(',\n        ') }},
        {{ member }} as member,
        cast(sum(events_counted) as {{ dbt.type_bigint() }}) as amount
    from {{ relation }}
    where
        {{ member }} is not null
        and {{ condition }}
    group by {{ keys | join(', ') }}, {{ member }}
        {%- endset -%}
        {%- do members.update({kind: select}) -%}
    {%- endfor -%}
    {%- for kind, amount in [('events', 'amount'), ('human_events', 'human_amount')] -%}
        {%- set select -%}
    select
        {{ keys | join(',\n        ') }},
        member,
        cast({{ amount }} as {{ dbt.type_bigint() }}) as amount
    from {{ names }}
    where {{ amount }} is not null
        {%- endset -%}
        {%- do members.update({kind: select}) -%}
    {%- endfor -%}
    {%- set latest_events -%}
    select
        {{ keys | join(',\n        ') }},
        member,
        {{ ordered_key(timestamp_to_unix('max(last_at)'), "''") }} as latest
    from (
        {%- for member, moment in latest %}
        select
            {{ keys | join(',\n            ') }},
            {{ member }} as member,
            {{ moment }} as last_at
        from {{ names }}
        where {{ moment }} is not null
        {%- if not loop.last %}

        union all

        {% endif -%}
        {%- endfor %}
    ) as named
    group by {{ keys | join(', ') }}, member
    {%- endset -%}
    {%- set latest_copies -%}
    select
        {{ keys | join(',\n        ') }},
        template_id as member,
        max({{ ordered_key(timestamp_to_unix('last_event_at'), 'copy_id') }}) as latest
    from {{ relation }}
    where
        template_id is not null
        and is_copy_sent
    group by {{ keys | join(', ') }}, template_id
    {%- endset -%}
    {%- do members.update({'latest_events': latest_events, 'latest_copies': latest_copies}) -%}
    {{ return(members) }}
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
