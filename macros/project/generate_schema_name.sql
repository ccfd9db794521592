{# Layers are schemas: staging, intermediate, marts, audit, shares. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ layer_schema(custom_schema_name) if custom_schema_name else target.schema }}
{%- endmacro %}


{# A DuckDB file belongs to one person, a Snowflake database to everyone. So a profile's schema other than the var
   production_schema precedes the layer, as in ANNA_staging. The sources' YAML, where dbt allows no macros, and
   scripts/warehouse.py repeat this rule. #}
{% macro layer_schema(layer) -%}
    {{ return(adapter.dispatch('layer_schema')(layer)) }}
{%- endmacro %}

{% macro duckdb__layer_schema(layer) -%}
    {{ return(layer) }}
{%- endmacro %}

{% macro snowflake__layer_schema(layer) -%}
    {{ return(layer if target.schema | upper == var('production_schema') | upper else target.schema ~ '_' ~ layer) }}
{%- endmacro %}
