{# These two read no database, so that they stop dbt while it parses: with such settings it would end in a trace before
   its first hook. DuckDB takes -1, none and null for no limit at all, and then the system ends the process. #}
{% macro require_settings() -%}
    {%- set limit = (target.settings or {}).get('memory_limit') -%}
    {%- set amount = '\\s*(?=.*[1-9])([0-9]+[.]?[0-9]*|[.][0-9]+)(e[0-9]+)?'
        ~ '\\s*(%|b|bytes?|[kmgt](i?b)?|(kilo|mega|giga|tera)bytes?)\\s*' -%}
    {%- if limit is not none and modules.re.fullmatch(amount, limit | string | lower) is none -%}
        {{ exceptions.raise_compiler_error(
            "the memory limit is '" ~ limit ~ "': set COPYMART_MEMORY_LIMIT to an amount such as 3500MB"
        ) }}
    {%- endif -%}
    {%- if not 1 <= target.threads <= 1000 -%}
        {{ exceptions.raise_compiler_error(
            "the number of threads is " ~ target.threads ~ ": set COPYMART_THREADS to a whole number from 1 to 1000"
        ) }}
    {%- endif -%}
{%- endmacro %}


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


{# Landing tables of an earlier version get their new columns from `copymart land`. #}
{% macro require_landing_columns() -%}
    {%- if execute and flags.WHICH in ('build', 'run') -%}
        {%- set events = adapter.get_relation(target.database, layer_schema('staging'), 'customerio_events') -%}
        {%- set variants = adapter.get_relation(target.database, layer_schema('staging'), 'justai_variants') -%}
        {%- if events is not none and (variants is none or 'is_machine_click' not in column_names(events)) -%}
            {{ exceptions.raise_compiler_error(
                "the landing tables in " ~ target.database ~ "." ~ layer_schema('staging') ~ " are those of an earlier version: run"
                ~ " `copymart land --calls URI --events URI` once, which brings them up to date, and then `dbt build --full-refresh`"
                ~ ". Nothing was built"
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{# `dbt run` does not load the seeds. Until they are there, with all columns that models read, it would fail with an
   error of the engine. A deferred build may read those of another database. #}
{% macro require_seeds() -%}
    {%- if execute and flags.WHICH in ('build', 'run') and not invocation_args_dict.get('defer') -%}
        {%- set missing = [] -%}
        {%- for node in graph.nodes.values()
            if node.resource_type == 'model' and node.unique_id in selected_resources -%}
            {%- for parent in node.depends_on.nodes
                if parent.startswith('seed.') and parent not in selected_resources and parent not in missing -%}
                {%- set seed = graph.nodes[parent] -%}
                {%- set loaded = adapter.get_relation(seed.database, seed.schema, seed.alias) -%}
                {%- if seed.columns.keys() | reject('in', column_names(loaded) if loaded is not none else []) | list -%}
                    {%- do missing.append(parent) -%}
                {%- endif -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- if missing -%}
            {{ exceptions.raise_compiler_error(
                "not loaded with the columns of today: " ~ missing | map('replace', 'seed.' ~ project_name ~ '.', 'the seed ') | sort | join(', ')
                ~ ". Run `dbt seed` first, or `dbt build`, which loads them. Nothing was built"
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{# A later version of a model may have other columns. An incremental run would leave the new ones empty in all rows of
   before, which a full refresh fills. One statement reads the columns of all tables. #}
{% macro require_columns() -%}
    {%- if execute and flags.WHICH in ('build', 'run') and not flags.FULL_REFRESH -%}
        {%- set nodes = graph.nodes.values()
            | selectattr('unique_id', 'in', selected_resources)
            | selectattr('config.incremental_strategy', 'equalto', 'replace_touched') | list -%}
        {%- set other = [] -%}
        {%- set rebuilt = [] -%}
        {%- set there = columns_of_schemas(nodes | map(attribute='schema') | unique | list) if nodes else {} -%}
        {%- for node in nodes -%}
            {%- set found = there.get((node.schema ~ '.' ~ node.alias) | lower, []) -%}
            {%- set described = node.columns.keys() | map('lower') | list -%}
            {%- set lacking = described | reject('in', found) | sort -%}
            {%- set more = found | reject('in', described) | sort -%}
            {%- if found and (lacking or more) -%}
                {%- set differences = (['lacks ' ~ lacking | join(', ')] if lacking else [])
                    + (['has ' ~ more | join(', ') ~ ' as well'] if more else []) -%}
                {%- do other.append(node.name ~ ' (' ~ differences | join('; ') ~ ')') -%}
                {# require_queues() refuses the table alone #}
                {%- do rebuilt.append(node.config.get('meta', {}).get('compared_by') or node.name) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- if other -%}
            {{ exceptions.raise_compiler_error(
                "these tables have other columns than their YAML files describe: " ~ other | sort | join(', ')
                ~ ". Another version of this project built them: run `dbt build --full-refresh --select "
                ~ rebuilt | unique | sort | join('+ ') ~ "+`; CHANGELOG.md says what else this version asks for. If you changed"
                ~ " a model, first describe its columns in the YAML file beside it. Nothing was built"
            ) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{# The columns of all tables in schemas of the target's database, by schema.table, all in lower case. #}
{% macro columns_of_schemas(schemas) -%}
    {%- set rows = run_query(
        "select lower(table_schema), lower(table_name), lower(column_name) from information_schema.columns"
        ~ " where lower(table_catalog) = lower('" ~ target.database | replace("'", "''") ~ "')"
        ~ " and lower(table_schema) in ('" ~ schemas | map('lower') | join("', '") ~ "')"
    ) -%}
    {%- set found = {} -%}
    {%- for row in rows.rows -%}
        {%- do found.setdefault(row[0] ~ '.' ~ row[1], []).append(row[2]) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}


{# dbt writes the SQL that it ran for a seed to target/run/<path of the seed>. An absolute path, or one with .., would
   leave the target folder, and dbt would overwrite the owner's CSV. In the project's own folder dbt takes every YAML file
   for one of seeds. #}
{% macro require_seeds_in_project() -%}
    {%- set folder = env_var('COPYMART_SEEDS', '') -%}
    {%- set names = folder.split('/') -%}
    {%- if folder and (names[0] in ('', '~') or '..' in names or names | reject('in', ['', '.']) | list == []) -%}
        {{ exceptions.raise_compiler_error(
            "COPYMART_SEEDS must be a path within the project, relative to it, such as seeds; it is '" ~ folder ~ "'"
        ) }}
    {%- endif -%}
{%- endmacro %}


{# The columns of a relation, in lower case. adapter.get_columns_in_relation() begins a transaction; dbt rolls it back
   after the hooks, and with it, on DuckDB, the tables that a later hook made. #}
{% macro column_names(relation) -%}
    {%- set columns = adapter.get_column_schema_from_query('select * from ' ~ relation ~ ' where false') -%}
    {{ return(columns | map(attribute='name') | map('lower') | list) }}
{%- endmacro %}
