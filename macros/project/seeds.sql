{# dbt's materialization of a seed, with two differences. The file is checked before anything of the old table goes
   (checked_seed), so that an error names file, line and remedy. And values go by the names of their columns: dbt keeps
   the columns of the table that is there, and dbt-duckdb copies into them by position. #}
{% materialization seed, default %}
    {%- set old_relation = adapter.get_relation(database=database, schema=schema, identifier=model['alias']) -%}
    {%- if old_relation is not none and not old_relation.is_table -%}
        {{ exceptions.raise_compiler_error(
            old_relation ~ " is no table, so the seed cannot be loaded there: drop or rename it, then run the same command again"
        ) }}
    {%- endif -%}
    {%- set seed = checked_seed() -%}
    {%- do store_result('agate_table', response='OK', agate_table=seed.table) -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {%- set sql = adapter.dispatch('load_seed')(seed, old_relation) -%}
    {%- set row_count = seed.rows | length -%}
    {%- call noop_statement('main', 'INSERT ' ~ row_count, 'INSERT', row_count) -%}
        {{ sql }}
    {%- endcall -%}

    {%- set target_relation = this.incorporate(type='table') -%}
    {%- do apply_grants(
        target_relation, config.get('grants'), should_revoke=should_revoke(old_relation, full_refresh_mode=true)
    ) -%}
    {%- do persist_docs(target_relation, model) -%}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{# In the transaction of the seed. Not by COPY from the file, which would read what nobody has checked. #}
{% macro duckdb__load_seed(seed, old_relation) -%}
    {%- set statements = ['create or replace table ' ~ this ~ ' ' ~ seed_columns(seed)] -%}
    {%- call statement('create_seed') -%}
        {{ statements[0] }}
    {%- endcall -%}
    {%- set values_of_row = '(' ~ (['?'] * seed.column_names | length) | join(', ') ~ ')' -%}
    {%- for rows in seed.rows | batch(1000) -%}
        {%- set bindings = [] -%}
        {%- for row in rows -%}
            {%- do bindings.extend(row) -%}
        {%- endfor -%}
        {%- set insert -%}
            insert into {{ this }} ({{ get_seed_column_quoted_csv(model, seed.column_names) }})
            values {{ ([values_of_row] * rows | length) | join(', ') }}
        {%- endset -%}
        {%- do adapter.add_query(insert, bindings=bindings, abridge_sql_log=True) -%}
        {%- do statements.append(insert) -%}
    {%- endfor -%}
    {{ return(statements | join(';\n')) }}
{%- endmacro %}

{# dbt-snowflake's macro overwrites the rows by column name in one transaction. DDL would end that, so a table that has
   these columns already is kept. #}
{% macro snowflake__load_seed(seed, old_relation) -%}
    {%- set old_names = [] -%}
    {%- if old_relation is not none and not should_full_refresh() -%}
        {%- for column in adapter.get_columns_in_relation(old_relation) -%}
            {%- do old_names.append(column.name | lower) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if old_names | sort != seed.column_names | sort -%}
        {%- call statement('create_seed') -%}
            create or replace {{ 'transient ' if config.get('transient', true) }}table {{ this }} {{ seed_columns(seed) }}
        {%- endcall -%}
    {%- endif -%}
    {{ return(snowflake__load_csv_rows(model, seed)) }}
{%- endmacro %}


{% macro seed_columns(seed) -%}
    {%- set columns = [] -%}
    {%- for name in seed.column_names -%}
        {%- do columns.append(adapter.quote_seed_column(name, config.get('quote_columns')) ~ ' ' ~ seed.types[name]) -%}
    {%- endfor -%}
    {{ return('(' ~ columns | join(', ') ~ ')') }}
{%- endmacro %}
