{# Text as a whole number of 64 bits, null if it is not one. Digits are exact. A number with a point or an exponent
   ('41.0', '1e3') is a float in JSON, so it is one only below 2^53, where no digit has been lost; a cast alone would
   round '41.5' to 42. #}
{% macro text_to_bigint(text) -%}
    case
            when {{ matches_all_of(text, '-?[0-9]+') }}
                then {{ adapter.dispatch('digits_to_bigint')(text) }}
            when
                {{ matches_all_of(text, '-?[0-9]+([.][0-9]*)?([eE][-+]?[0-9]+)?') }}
                and abs(try_cast({{ text }} as double)) < 9007199254740992
                and floor(try_cast({{ text }} as double)) = try_cast({{ text }} as double)
                then cast(try_cast({{ text }} as double) as bigint)
        end
{%- endmacro %}

{% macro duckdb__digits_to_bigint(text) -%}
    try_cast({{ text }} as bigint)
{%- endmacro %}

{# Snowflake's bigint has 38 digits. #}
{% macro snowflake__digits_to_bigint(text) -%}
    case
                    when try_cast({{ text }} as decimal(38, 0)) between -9223372036854775808 and 9223372036854775807
                        then try_cast({{ text }} as decimal(38, 0))
                end
{%- endmacro %}


{# Whether a regular expression without backslashes matches the whole text. #}
{% macro matches_all_of(text, pattern) -%}
    {{ adapter.dispatch('matches_all_of')(text, pattern) }}
{%- endmacro %}

{% macro duckdb__matches_all_of(text, pattern) -%}
    regexp_full_match({{ text }}, '{{ pattern }}')
{%- endmacro %}

{% macro snowflake__matches_all_of(text, pattern) -%}
    regexp_like({{ text }}, '{{ pattern }}')
{%- endmacro %}


{# Text with all matches of a regular expression without backslashes replaced. #}
{% macro replace_matches(text, pattern, replacement) -%}
    {{ adapter.dispatch('replace_matches')(text, pattern, replacement) }}
{%- endmacro %}

{% macro duckdb__replace_matches(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement }}', 'g')
{%- endmacro %}

{% macro snowflake__replace_matches(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement }}')
{%- endmacro %}


{# Text as a number with four decimal places, null if it is not one or has more than 14 digits before the point. A
   decimal and not a double: its sums do not depend on the order of rows, so both engines agree to the last digit. #}
{% macro text_to_decimal(text) -%}
    case
            when {{ matches_all_of(text, '-?[0-9]+([.][0-9]*)?([eE][-+]?[0-9]+)?') }}
                then try_cast({{ text }} as decimal(18, 4))
        end
{%- endmacro %}


{# Text without the spaces around it. Without naming them DuckDB would trim all white space that Unicode calls a space,
   such as that of a spreadsheet that does not break, and Snowflake would not. #}
{% macro without_spaces(text) -%}
    trim({{ text }}, ' ')
{%- endmacro %}


{# Text as a boolean, null if it is neither true nor false. dbt.safe_cast fails on other text on DuckDB. Null, true and
   false as JSON writes them come first: they are nearly all, and trimming every flag took four times as long. #}
{% macro text_to_boolean(text) -%}
    case
            when {{ text }} is null then null
            when {{ text }} = 'true' then true
            when {{ text }} = 'false' then false
            when lower({{ without_spaces(text) }}) in ('true', 't', 'yes', 'y', '1', '1.0') then true
            when lower({{ without_spaces(text) }}) in ('false', 'f', 'no', 'n', '0', '0.0') then false
        end
{%- endmacro %}


{# md5 of the fields as a list of quoted texts, with null unquoted: ('a', null) and ('a,null') get different keys, which
   a separator alone does not guarantee. #}
{% macro surrogate_key(fields) -%}
    {%- set parts = [] -%}
    {%- for field in fields -%}
        {%- do parts.append(
            "coalesce('\"' || replace(replace(cast(" ~ field ~ " as varchar), '" ~ backslash() ~ "', '" ~ backslash() * 2 ~ "'), '\"', '"
            ~ backslash() ~ "\"') || '\"', 'null')"
        ) -%}
    {%- endfor -%}
    md5({{ parts | join(" || ',' || ") }})
{%- endmacro %}

{# In a string literal \ begins an escape on Snowflake and is a plain character on DuckDB. #}
{% macro backslash() -%}
    {{ return(adapter.dispatch('backslash')()) }}
{%- endmacro %}

{% macro duckdb__backslash() -%}
    {{ return('\\') }}
{%- endmacro %}

{% macro snowflake__backslash() -%}
    {{ return('\\\\') }}
{%- endmacro %}


{# A text as an SQL literal, whatever is in it. #}
{% macro text_literal(text) -%}
    {{ return(adapter.dispatch('text_literal')(text)) }}
{%- endmacro %}

{% macro duckdb__text_literal(text) -%}
    {{ return(dbt.string_literal(dbt.escape_single_quotes(text))) }}
{%- endmacro %}

{# Where $$ stands in it, it is put together from parts that have no two of them: $$ would end the block of
   in_one_transaction(). #}
{% macro snowflake__text_literal(text) -%}
    {%- set literal = dbt.string_literal(dbt.escape_single_quotes(text | replace('\\', '\\\\'))) -%}
    {{- literal | replace('$', "$' || '") if '$$' in text else literal -}}
{%- endmacro %}


{# Where a text begins in another, from 1; 0 if it is not there. dbt.position() takes no expression on Snowflake. #}
{% macro place_of(part, text) -%}
    {{ adapter.dispatch('place_of')(part, text) }}
{%- endmacro %}

{% macro duckdb__place_of(part, text) -%}
    strpos({{ text }}, {{ part }})
{%- endmacro %}

{% macro snowflake__place_of(part, text) -%}
    charindex({{ part }}, {{ text }})
{%- endmacro %}


{# A line feed; written as chr() because the engines disagree on escapes in literals. #}
{% macro newline() -%}
    chr(10)
{%- endmacro %}


{# A list of texts, or one text, as SQL literals with commas between them. Snowflake takes no empty list. #}
{% macro quoted_list(texts) -%}
    {%- set literals = [] -%}
    {%- for text in (texts if texts is sequence and texts is not string else [texts]) -%}
        {%- do literals.append(text_literal(text)) -%}
    {%- endfor -%}
    {{ literals | join(', ') or 'null' }}
{%- endmacro %}


{# Aggregate: texts in the order of other ones, with commas between them. DuckDB sorts a list faster than it orders what
   an aggregate reads, and a list of texts twice as fast as one of structures. So each text stands behind the one that
   it is ordered by. The character between them sorts before all others, and a text to list must not have it: the last
   one is where it begins. #}
{% macro listagg_in_order(text, order) -%}
    {{ adapter.dispatch('listagg_in_order')(text, order) }}
{%- endmacro %}

{% macro duckdb__listagg_in_order(text, order) -%}
    array_to_string(
            list_transform(
                list_sort(list({{ order }} || chr(0) || {{ text }})),
                lambda listed: split_part(listed, chr(0), -1)
            ),
            ','
        )
{%- endmacro %}

{% macro snowflake__listagg_in_order(text, order) -%}
    {{ dbt.listagg(text, "','", 'order by ' ~ order) }}
{%- endmacro %}
