{# Without the landing tables every staging model would fail with the engine's own words. #}
{% macro require_landing() -%}
    {%- if execute and flags.WHICH in ('build', 'run', 'test') -%}
        {%- set landing = adapter.get_relation(target.database, 'staging', 'justai_calls') -%}
        {%- if landing is none -%}
            {{ exceptions.raise_compiler_error(
                "no landing tables in " ~ target.database ~ ".staging: run `copymart land --calls URI --events URI` first"
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
