{# Parses a JSON column once into the fields at the given paths ('subject', 'identifiers.id'); read them with
   json_field(). On DuckDB, one json_transform of 14 fields takes 0.75 s per million events, ten separate ->> 3.3 s. #}
{% macro json_fields(column, paths) -%}
    {{ adapter.dispatch('json_fields')(column, paths) }}
{%- endmacro %}

{% macro duckdb__json_fields(column, paths) -%}
    {%- set structure = {} -%}
    {%- for path in paths -%}
        {%- set steps = path.split('.') -%}
        {%- set at = namespace(node=structure) -%}
        {%- for step in steps[:-1] -%}
            {%- set at.node = at.node.setdefault(step, {}) -%}
        {%- endfor -%}
        {%- do at.node.update({steps[-1]: 'VARCHAR'}) -%}
    {%- endfor -%}
    json_transform({{ column }}, '{{ tojson(structure) }}')
{%- endmacro %}

{# JSON is text on Snowflake too: "the order of the key-value pairs in the string produced by TO_JSON is not
   predictable" (PARSE_JSON), and landing tables are equal on both engines. #}
{% macro snowflake__json_fields(column, paths) -%}
    {{ snowflake__parsed_json(column) }}
{%- endmacro %}


{# PARSE_JSON would stop the build at a text that Snowflake does not take for JSON. Of a key that stands twice, which is
   no error by 'd', it takes the last. #}
{% macro snowflake__parsed_json(json_text) -%}
    try_parse_json({{ json_text }}, 'd')
{%- endmacro %}


{# A field of json_fields() as text, null when absent, null or empty: Customer.io sends '' for a deleted person. #}
{% macro json_field(fields, path) -%}
    nullif({{ adapter.dispatch('json_field')(fields, path) }}, '')
{%- endmacro %}

{% macro duckdb__json_field(fields, path) -%}
    {{ fields }}.{% for step in path.split('.') %}"{{ step }}"{% if not loop.last %}.{% endif %}{% endfor %}
{%- endmacro %}

{% macro snowflake__json_field(fields, path) -%}
    cast({{ fields }}:{% for step in path.split('.') %}"{{ step }}"{% if not loop.last %}.{% endif %}{% endfor %} as varchar)
{%- endmacro %}


{# A field that few rows have, as json_field() gives it. Only rows that hold its name are parsed: landing writes names
   without escapes. #}
{% macro rare_json_field(json_text, path) -%}
    case
            when {{ dbt.position(dbt.string_literal(path.split('.') | last), json_text) }} > 0
                then {{ json_field(json_fields(json_text, [path]), path) }}
        end
{%- endmacro %}


{# One member of a JSON object given as text: a string unquoted, anything else as JSON text. #}
{% macro json_member(json_text, key) -%}
    {{ adapter.dispatch('json_member')(json_text, key) }}
{%- endmacro %}

{% macro duckdb__json_member(json_text, key) -%}
    json_extract_string({{ json_text }}, '$."{{ key }}"')
{%- endmacro %}

{% macro snowflake__json_member(json_text, key) -%}
    cast({{ snowflake__parsed_json(json_text) }}:"{{ key }}" as varchar)
{%- endmacro %}


{# One member of the first object in a JSON array given as text. #}
{% macro json_first_member(json_array, key) -%}
    {{ adapter.dispatch('json_first_member')(json_array, key) }}
{%- endmacro %}

{% macro duckdb__json_first_member(json_array, key) -%}
    json_extract_string({{ json_array }}, '$[0]."{{ key }}"')
{%- endmacro %}

{% macro snowflake__json_first_member(json_array, key) -%}
    cast(get_path({{ snowflake__parsed_json(json_array) }}, '[0].{{ key }}') as varchar)
{%- endmacro %}


{# The different texts of one member in the objects of a JSON array given as text: in order, separated by ', ', null if
   none has it. #}
{% macro json_each_member(json_array, key) -%}
    nullif({{ adapter.dispatch('json_each_member')(json_array, key) }}, '')
{%- endmacro %}

{% macro duckdb__json_each_member(json_array, key) -%}
    array_to_string(
        list_sort(list_distinct(list_filter(
            json_extract_string({{ json_array }}, '$[*]."{{ key }}"'), lambda member: member != ''
        ))),
        ', '
    )
{%- endmacro %}

{# A cast to varchar makes a JSON null a null, which array_compact leaves out. #}
{% macro snowflake__json_each_member(json_array, key) -%}
    array_to_string(
        array_sort(array_distinct(array_compact(transform(
            as_array({{ snowflake__parsed_json(json_array) }}),
            member -> nullif(cast(member:"{{ key }}" as varchar), '')
        )))),
        ', '
    )
{%- endmacro %}


{# Text of a JSON value in which absent and null members are the same at every depth; for comparing only. First
   escaped characters and < > become control characters, which JSON text does not hold. Then each string "a" is written
   <a>, so that the patterns match only whole strings. #}
{% macro json_without_nulls(json_text) -%}
    {%- set plain = namespace(text=json_text) -%}
    {%- for special in [backslash() * 2, backslash() ~ '"', '<', '>'] -%}
        {%- set plain.text = 'replace(' ~ plain.text ~ ", '" ~ special ~ "', chr(" ~ loop.index ~ '))' -%}
    {%- endfor -%}
    {%- set strings = replace_matches(plain.text, '"([^"]*)"', '<' ~ backslash() ~ '1>') -%}
    {%- set fewer = replace_matches(strings, '<[^<>]*>:null,', '') -%}
    {{ replace_matches(fewer, ',?<[^<>]*>:null', '') }}
{%- endmacro %}


{# The select of JSON objects with their canonical text, one row each: keys sorted by code point, no white space, null
   members absent, numbers as the engine's JSON writes them, so that 41.50 and 41.5 are one content. `keys` are columns
   of the relation to keep, which tell its rows apart, `json_text` with the object among them; `name` is that of the
   canonical text. Apply it to distinct values: over 10 M rows hashing every map took 69 s. #}
{% macro canonical_objects(relation, keys, json_text, name) -%}
    {{ adapter.dispatch('canonical_objects')(relation, keys, json_text, name) }}
{%- endmacro %}

{% macro duckdb__canonical_objects(relation, keys, json_text, name) -%}
select
        {{ keys | join(',\n        ') }},
        {{ duckdb__canonical_json(json_text) }} as {{ name }}
    from {{ relation }}
{%- endmacro %}

{# The cast from text to JSON keeps the text; the cast to a map writes each value as the parser reads it. #}
{% macro duckdb__canonical_json(json_text) -%}
    '{' || coalesce(
        array_to_string(
            list_transform(
                list_sort(list_filter(
                    map_entries(cast(cast({{ json_text }} as json) as map(varchar, json))),
                    lambda member: member.value is not null and cast(member.value as varchar) != 'null'
                )),
                lambda member: cast(to_json(member.key) as varchar) || ':' || cast(member.value as varchar)
            ),
            ','
        ),
        ''
    ) || '}'
{%- endmacro %}

{# Members become rows, because an object has no array of them for a lambda to take, and a lambda over the keys would
   read the object, a column: it could not in May 2024 (ibis-project/ibis#9178), and Snowflake's page does not say that it
   can. An object without members keeps its row by `outer`. A text that Snowflake does not take for JSON stays as it was
   logged. #}
{% macro snowflake__canonical_objects(relation, keys, json_text, name) -%}
select
        {%- for key in keys %}
        opened.{{ key }},
        {%- endfor %}
        case
            when count(opened.parsed) > 0
                then
                    '{' || coalesce(
                        listagg(
                            case
                                when not is_null_value(member.value)
                                    then to_json(to_variant(member.key)) || ':' || to_json(member.value)
                            end,
                            ','
                        ) within group (order by member.key),
                        ''
                    ) || '}'
            else opened.{{ json_text }}
        end as {{ name }}
    from (
        select
            {{ keys | join(',\n            ') }},
            {{ snowflake__parsed_json(json_text) }} as parsed
        from {{ relation }}
    ) as opened,
        lateral flatten(input => opened.parsed, outer => true) as member
    group by {% for key in keys %}opened.{{ key }}{% if not loop.last %}, {% endif %}{% endfor %}
{%- endmacro %}


{# A field of json_fields() that holds unix seconds, as a time (UTC); null if it is no whole number, or none up to the
   year 9999, which a time has on both engines: one such number would stop a build. A zero says that it has not
   happened. #}
{% macro json_time(fields, path, since=1) -%}
    {%- set seconds = text_to_bigint(json_field(fields, path)) -%}
    case when {{ seconds }} between {{ since }} and 253402300799 then {{ unix_to_timestamp(seconds) }} end
{%- endmacro %}
