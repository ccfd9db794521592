{# Layers are schemas: staging, intermediate, marts, audit. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ layer_schema(custom_schema_name) if custom_schema_name else target.schema }}
{%- endmacro %}


{# A DuckDB file is one person's. A Snowflake database is everyone's: where the profile's schema is not the var
   production_schema, it stands before the layer, as in ANNA_staging. The sources' YAML, where dbt knows no macros, and
   scripts/warehouse.py say the same. #}
{% macro layer_schema(layer) -%}
    {{ return(adapter.dispatch('layer_schema')(layer)) }}
{%- endmacro %}

{% macro duckdb__layer_schema(layer) -%}
    {{ return(layer) }}
{%- endmacro %}

{% macro snowflake__layer_schema(layer) -%}
    {{ return(layer if target.schema | upper == var('production_schema') | upper else target.schema ~ '_' ~ layer) }}
{%- endmacro %}
