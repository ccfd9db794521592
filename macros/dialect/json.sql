{# Parses a JSON column once into the fields at the given paths ('subject', 'identifiers.id'); read them with
   json_field(). DuckDB: one json_transform of 14 fields takes 0.75 s per million events,
   ten separate ->> 3.3 s. #}
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

{# JSON is text on Snowflake too: a VARIANT would write 41.50 as 41.5. 'd' takes a key that stands twice, as DuckDB
   does. #}
{% macro snowflake__json_fields(column, paths) -%}
    parse_json({{ column }}, 'd')
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


{# DuckDB's JSON parser writes 41.50 as 41.5, 1e2 as 100.0 and -0 as 0. A number must keep its text, so JSON text that
   may hold such a number is parsed with its numbers as strings, marked by the text's own hash, which no text holds.
   Few texts do: the first test, made to be quick, clears all objects of strings. #}
{% macro duckdb__holds_numbers(json_text) -%}
    regexp_matches({{ json_text }}, '"\s*:\s*[-0-9\[{]')
    and regexp_matches({{ json_text }}, '[:\[,]\s*-?[0-9]+[.eE]|[:\[,]\s*-0')
{%- endmacro %}

{% macro duckdb__numbers_to_strings(json_text) -%}
    replace(replace(
        array_to_string(list_transform(
            regexp_extract_all({{ json_text }}, '(?:"[^"\\]*(?:\\.[^"\\]*)*"|[^-"0-9]+)+|-?[0-9][-+.0-9eE]*|-'),
            lambda token: case when regexp_matches(token, '^-?[0-9]') then chr(1) || token || chr(2) else token end
        ), ''),
        chr(1), '"number:' || md5({{ json_text }})
    ), chr(2), md5({{ json_text }}) || '"')
{%- endmacro %}

{# The list of one stands for a variable: a case that names what is parsed twice would parse it twice. #}
{% macro duckdb__strings_to_numbers(parsed, json_text) -%}
    list_transform([{{ parsed }}], lambda marked: case
        when contains(marked, '"number:')
            then replace(replace(marked, '"number:' || md5({{ json_text }}), ''), md5({{ json_text }}) || '"', '')
        else marked
    end)[1]
{%- endmacro %}


{# The same on Snowflake, where PARSE_JSON keeps no number's text at all. The pattern takes all before a number, strings
   whole, and then the number; the 0 put at the end lets the last match reach the end, so that none begins in a string. #}
{% macro snowflake__holds_numbers(json_text) -%}
    regexp_instr({{ json_text }}, '[:,[][[:space:]]*-?[0-9]') > 0
{%- endmacro %}

{% macro snowflake__numbers_to_strings(json_text) -%}
    regexp_replace(
        regexp_replace(
            {{ json_text }} || '0',
            $$(([^-"0-9]|"([^"\\]|\\.)*")*)(-?[0-9][-+.0-9eE]*)$$,
            $$\1"number:$$ || md5({{ json_text }}) || $$\4$$ || md5({{ json_text }}) || '"'
        ),
        '"number:[0-9a-f]{32}0[0-9a-f]{32}"$'
    )
{%- endmacro %}

{% macro snowflake__strings_to_numbers(parsed, json_text) -%}
    replace(replace({{ parsed }}, '"number:' || md5({{ json_text }}), ''), md5({{ json_text }}) || '"', '')
{%- endmacro %}


{# One member of a JSON object given as text. #}
{% macro json_member(json_text, key) -%}
    {{ adapter.dispatch('json_member')(json_text, key) }}
{%- endmacro %}

{% macro duckdb__json_member(json_text, key) -%}
    {%- set path = "'$.\"" ~ key ~ "\"'" -%}
    {%- set parsed = 'cast(json_extract(' ~ duckdb__numbers_to_strings(json_text) ~ ', ' ~ path ~ ') as varchar)' -%}
    case
        when {{ duckdb__holds_numbers(json_text) }} and json_type({{ json_text }}, {{ path }}) not in ('VARCHAR', 'NULL')
            then {{ duckdb__strings_to_numbers(parsed, json_text) }}
        else json_extract_string({{ json_text }}, {{ path }})
    end
{%- endmacro %}

{# A number alone loses its quotes by the cast, and its mark without them after. #}
{% macro snowflake__json_member(json_text, key) -%}
    {%- set member = 'cast(parse_json(' ~ snowflake__numbers_to_strings(json_text) ~ '):"' ~ key ~ '" as varchar)' -%}
    case
        when {{ snowflake__holds_numbers(json_text) }}
            then replace(
                replace({{ snowflake__strings_to_numbers(member, json_text) }}, 'number:' || md5({{ json_text }}), ''),
                md5({{ json_text }}), ''
            )
        else cast(parse_json({{ json_text }}):"{{ key }}" as varchar)
    end
{%- endmacro %}


{# Canonical text of a JSON object: keys sorted by code point, no white space, null members absent, numbers as written.
   Apply it to distinct values: over 10 M rows hashing every map took 69 s. #}
{% macro canonical_json(json_object) -%}
    {{ adapter.dispatch('canonical_json')(json_object) }}
{%- endmacro %}

{# The case is around what is parsed: around the whole, it would make DuckDB parse every object twice. #}
{% macro duckdb__canonical_json(json_object) -%}
    {%- set json_text = 'cast(' ~ json_object ~ ' as varchar)' -%}
    {%- set parsed -%}
        case
            when {{ duckdb__holds_numbers(json_text) }} then cast({{ duckdb__numbers_to_strings(json_text) }} as json)
            else {{ json_object }}
        end
    {%- endset -%}
    {%- set members -%}
        '{' || coalesce(
            array_to_string(
                list_transform(
                    list_sort(list_filter(
                        map_entries(cast({{ parsed }} as map(varchar, json))),
                        lambda member: member.value is not null and cast(member.value as varchar) != 'null'
                    )),
                    lambda member: cast(to_json(member.key) as varchar) || ':' || cast(member.value as varchar)
                ),
                ','
            ),
            ''
        ) || '}'
    {%- endset -%}
    {{ duckdb__strings_to_numbers(members, json_text) }}
{%- endmacro %}

{% macro snowflake__canonical_json(json_object) -%}
    {%- set parsed -%}
        parse_json(case
            when {{ snowflake__holds_numbers(json_object) }} then {{ snowflake__numbers_to_strings(json_object) }}
            else {{ json_object }}
        end)
    {%- endset -%}
    {%- set members -%}
        '{' || array_to_string(
            transform(
                array_sort(filter(
                    object_keys({{ parsed }}),
                    member_name -> not is_null_value(get({{ parsed }}, member_name::varchar))
                )),
                member_name -> to_json(member_name) || ':' || to_json(get({{ parsed }}, member_name::varchar))
            ),
            ','
        ) || '}'
    {%- endset -%}
    {{ snowflake__strings_to_numbers(members, json_object) }}
{%- endmacro %}
