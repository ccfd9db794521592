{# Without the landing tables, every staging model would fail with an error of the engine that names no remedy. #}
{% macro require_landing() -%}
    {%- if execute and flags.WHICH in ('build', 'run', 'test') -%}
        {%- set landing = adapter.get_relation(target.database, layer_schema('staging'), 'justai_calls') -%}
        {%- if landing is none -%}
            {{ exceptions.raise_compiler_error(
                "no landing tables in " ~ target.database ~ "." ~ layer_schema('staging') ~ ": run `copymart land --calls URI --events URI` first"
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{# dbt writes the SQL that it ran for a seed to target/run/<path of the seed>. An absolute path would leave the target
   folder, and dbt would overwrite the owner's CSV. #}
{% macro require_seeds_in_project() -%}
    {%- if execute and env_var('COPYMART_SEEDS', 'seeds').startswith('/') -%}
        {{ exceptions.raise_compiler_error(
            "COPYMART_SEEDS must be a path within the project, relative to it; it is " ~ env_var('COPYMART_SEEDS')
        ) }}
    {%- endif -%}
{%- endmacro %}
