{# Incremental strategy: delete the touched rows, insert the rows recomputed for them. A model's config names what was
   touched, as a model and the columns to join it on:
       meta={'touched': [{'model': 'int_touched_calls', 'on': {'event_timestamp': 'event_timestamp'}}]}
   `since` names a column that is never less than the one it is joined to, so that the engine can skip older rows; `only`
   is a condition on the rows to delete; `among` names another model, since whose earliest value they must lie. The model
   must select exactly the touched rows. Nothing is merged row by row, so rows that no longer exist disappear, and a
   second run changes nothing. #}
{% macro get_incremental_replace_touched_sql(arguments) %}
    {%- set relation = arguments['target_relation'] -%}
    {%- set columns = get_quoted_csv(arguments['dest_columns'] | map(attribute='name')) -%}
    {%- do stop_on_other_settings() -%}
    {%- do stop_on_another_build() -%}
    {%- set statements -%}
        {%- for touched in config.get('meta')['touched'] %}
            delete from {{ relation }} as kept
            using (
                select distinct {{ (touched['on'].values() | list + touched.get('since', {}).values() | list) | join(', ') }}
                from {{ ref(touched['model']) }}
                where {% for column in touched['on'].values() -%}
                    {{ column }} is not null{{ ' and ' if not loop.last }}
                {%- endfor %}
            ) as touched
            where
                {% for column, touched_column in touched['on'].items() -%}
                    kept.{{ column }} = touched.{{ touched_column }}{{ ' and ' if not loop.last }}
                {%- endfor -%}
                {%- for column, touched_column in touched.get('since', {}).items() %}
                    and kept.{{ column }} >= touched.{{ touched_column }}
                    {{- and_between('kept.' ~ column, touched['model'], touched_column, since=true) }}
                {%- endfor %}
                {%- for column, touched_column in touched['on'].items() %}
                    {{- and_between('kept.' ~ column, touched['model'], touched_column) }}
                {%- endfor %}
                {%- if touched.get('only') %}
                    and kept.{{ touched['only'] }}
                {%- endif %}
                {%- if touched.get('among') %}
                    and {{ is_among(touched['among'], ref(touched['among']['model']), 'kept.') }}
                {%- endif %};
        {%- endfor %}
            insert into {{ relation }} ({{ columns }})
            select {{ columns }}
            from {{ arguments['temp_relation'] }};
    {%- endset %}
    {{ return(adapter.dispatch('in_one_transaction')(statements)) }}
{% endmacro %}


{# Whether a row lies since the earliest value of another model, as a condition. #}
{% macro is_among(among, relation, prefix='') -%}
    {%- for column, touched_column in among['since'].items() -%}
        {{ ' and ' if not loop.first }}{{ prefix }}{{ column }} >= (select min({{ touched_column }}) from {{ relation }})
        {{- and_between(prefix ~ column, among['model'], touched_column, since=true) }}
    {%- endfor %}
{%- endmacro %}


{# dbt-duckdb runs a model's statements and hooks in one transaction; dbt-snowflake commits each by itself. The
   statements end in semicolons. #}
{% macro duckdb__in_one_transaction(statements) %}
    {{ return(statements) }}
{% endmacro %}

{# One statement of Snowflake Scripting. Between `begin` and `commit` as statements of their own, one that fails would
   leave the transaction open; dbt does not roll back, and the next model on its connection would commit the delete
   alone. #}
{% macro snowflake__in_one_transaction(statements) %}
execute immediate $$
begin
    begin transaction;
    {{ statements | trim }}
    commit;
exception
    when other then
        rollback;
        raise;
end;
$$
{% endmacro %}


{# dbt's macro with three more cases. It is true while dbt parses, so that dbt sees what the incremental branch reads.
   It is false in a unit test, which has no relation and tests the full branch. And `dbt compile --vars
   'compile_incremental: true'`, or false, picks the branch without a warehouse. #}
{% macro is_incremental() %}
    {%- if not execute -%}
        {{ return(true) }}
    {%- elif var('compile_incremental', none) is not none -%}
        {{ return(var('compile_incremental')) }}
    {%- endif -%}
    {{ return(this is not none and dbt.is_incremental()) }}
{% endmacro %}
