{% macro unix_to_timestamp(seconds) -%}
    {{ adapter.dispatch('unix_to_timestamp')(seconds) }}
{%- endmacro %}

{# DuckDB's to_timestamp() gives a zoned value, whose cast depends on the session's time zone. #}
{% macro duckdb__unix_to_timestamp(seconds) -%}
    make_timestamp({{ seconds }} * 1000000)
{%- endmacro %}

{% macro snowflake__unix_to_timestamp(seconds) -%}
    to_timestamp_ntz({{ seconds }})
{%- endmacro %}


{# A time (UTC) of milliseconds since 1970. #}
{% macro millis_to_timestamp(millis) -%}
    {{ adapter.dispatch('millis_to_timestamp')(millis) }}
{%- endmacro %}

{% macro duckdb__millis_to_timestamp(millis) -%}
    make_timestamp({{ millis }} * 1000)
{%- endmacro %}

{% macro snowflake__millis_to_timestamp(millis) -%}
    to_timestamp_ntz({{ millis }}, 3)
{%- endmacro %}


{% macro timestamp_to_unix(moment) -%}
    {{ adapter.dispatch('timestamp_to_unix')(moment) }}
{%- endmacro %}

{# A cast would round; Snowflake's function cuts a fraction off. #}
{% macro duckdb__timestamp_to_unix(moment) -%}
    cast(floor(epoch({{ moment }})) as bigint)
{%- endmacro %}

{% macro snowflake__timestamp_to_unix(moment) -%}
    date_part(epoch_second, {{ moment }})
{%- endmacro %}


{# The date on which a UTC moment falls in the var reporting_timezone. #}
{% macro reporting_date(moment) -%}
    {%- if var('reporting_timezone') == 'UTC' -%}
        cast({{ moment }} as date)
    {%- else -%}
        {{ adapter.dispatch('local_date')(moment, dbt.string_literal(var('reporting_timezone'))) }}
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__local_date(moment, zone) -%}
    cast(timezone({{ zone }}, timezone('UTC', {{ moment }})) as date)
{%- endmacro %}

{% macro snowflake__local_date(moment, zone) -%}
    cast(convert_timezone('UTC', {{ zone }}, {{ moment }}) as date)
{%- endmacro %}


{# A day that is written as 2026-01-31, by its numbers: what a text means as a date depends on Snowflake's
   DATE_INPUT_FORMAT, which an account or a user may change. #}
{% macro date_of_parts(day) -%}
    {{ adapter.dispatch('date_of_parts')((day | string).split('-') | map('int') | join(', ')) }}
{%- endmacro %}

{% macro duckdb__date_of_parts(numbers) -%}
    make_date({{ numbers }})
{%- endmacro %}

{% macro snowflake__date_of_parts(numbers) -%}
    date_from_parts({{ numbers }})
{%- endmacro %}
