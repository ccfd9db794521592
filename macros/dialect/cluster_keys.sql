{# dbt's statement for a table, which sorts it by the model's cluster_by, without the statements behind it that would
   make these columns a clustering key: a key alone starts Automatic Clustering, which no resource monitor stops. With
   the var snowflake_cluster_keys they stay. #}
{% macro snowflake__create_table_info_schema_sql(relation, compiled_code) -%}
    {%- set statements = dbt.snowflake__create_table_info_schema_sql(relation, compiled_code) -%}
    {%- if not var('snowflake_cluster_keys') -%}
        {%- set statements = statements.partition('alter table ' ~ relation ~ ' cluster by')[0] -%}
    {%- endif -%}
    {{ return(statements) }}
{%- endmacro %}
