{# The state of builds: which landing batches each model has read, and with which settings each incremental one was
   built. Both tables lie beside the landing tables and are written by the model's post-hook, on DuckDB in the model's
   transaction. #}
{% macro make_state_tables() %}
    {%- if execute and flags.WHICH in ('build', 'run') -%}
        {%- do run_query(
            'create table if not exists ' ~ state_table('consumed_batches') ~ ' (model varchar, batch_id varchar)'
        ) -%}
        {%- do run_query(
            'create table if not exists ' ~ state_table('built_with') ~ ' (model varchar, settings varchar)'
        ) -%}
    {%- endif -%}
{% endmacro %}


{% macro state_table(name) -%}
    {{ return(api.Relation.create(database=target.database, schema=layer_schema('staging'), identifier=name)) }}
{%- endmacro %}


{# The names of the incremental models, as a list of SQL literals. #}
{% macro incremental_models() -%}
    {%- set names = ["''"] -%}
    {%- if execute -%}
        {%- for node in graph.get('nodes', {}).values()
            if node.resource_type == 'model' and node.config.get('incremental_strategy') == 'replace_touched' -%}
            {%- do names.append("'" ~ node.name ~ "'") -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(names | sort | join(', ')) }}
{%- endmacro %}


{# Whether a model records the batches that it has read: incremental models do, and so must every table from which one
   is rebuilt. Such a table may be older than what has landed, and then the rebuild has not read that either. #}
{% macro records_batches(config) -%}
    {{ return(config.get('incremental_strategy') == 'replace_touched' or 'records_batches' in config.get('meta', {})) }}
{%- endmacro %}


{# The models upstream of a model that are tables, or only those of them that record the batches that they have read. #}
{% macro tables_above(unique_id, that_record=false) -%}
    {%- set above = [unique_id] -%}
    {# the list grows while it is read #}
    {%- for found in above -%}
        {%- for parent in graph.nodes[found].depends_on.nodes
            if parent in graph.nodes and parent.startswith('model.') and parent not in above -%}
            {%- do above.append(parent) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set tables = [] -%}
    {%- for found in above[1:] -%}
        {%- set config = graph.nodes[found].config -%}
        {%- if config.materialized != 'view' and (not that_record or records_batches(config)) -%}
            {%- do tables.append(found) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(tables | sort) }}
{%- endmacro %}


{# Before a run. A model that is built without the models that say which rows were touched, or from tables that have not
   read a batch yet, would mark a batch as read that it never saw. #}
{% macro require_all_above() -%}
    {%- if execute and flags.WHICH in ('build', 'run') and not flags.FULL_REFRESH -%}
        {%- for node in graph.nodes.values()
            if node.unique_id in selected_resources
            and node.config.get('incremental_strategy') == 'replace_touched'
            and adapter.get_relation(node.database, node.schema, node.alias) is not none -%}
            {%- set missing = tables_above(node.unique_id) | reject('in', selected_resources) | list -%}
            {%- if missing -%}
                {{ exceptions.raise_compiler_error(
                    node.name ~ " cannot be built without " ~ missing | map('replace', 'model.' ~ project_name ~ '.', '') | join(', ')
                    ~ ", which say what it must read. Select it as +" ~ node.name
                    ~ ", or a model with everything downstream as @model. After a failed run, run the same `dbt build`"
                    ~ " again. Nothing was built"
                ) }}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}


{# Post-hook: marks batches as read. An incremental run, with all models upstream, has read what was pending when the
   run began. A full rebuild has read what had landed then, as far as the tables upstream have. What lands during a run
   is left for the next one. Batches in the table of another build's may have landed since: none of them is marked. A rebuild
   by --empty has read nothing, with no settings: the next build reads all. #}
{% macro consume_batches() %}
    {%- if records_batches(config) -%}
        {{ adapter.dispatch('in_one_transaction')(consume_statements()) }}
    {%- endif -%}
{% endmacro %}

{% macro consume_statements() %}
    {%- set is_rebuild = flags.FULL_REFRESH or not is_incremental() %}
    {%- set has_settings = config.get('incremental_strategy') == 'replace_touched' %}
    {%- set built_with = text_literal('' if flags.EMPTY else settings()) %}
    {%- set above = [] %}
    {%- if execute and is_rebuild -%}
        {%- for found in tables_above(model.unique_id, that_record=true) -%}
            {%- do above.append("'" ~ graph.nodes[found].name ~ "'") -%}
        {%- endfor -%}
    {%- endif -%}
        {%- if has_settings and is_rebuild %}
        delete from {{ state_table('built_with') }} where model = '{{ this.identifier }}';
        insert into {{ state_table('built_with') }} (model, settings)
        values ('{{ this.identifier }}', {{ built_with }});
        {%- elif has_settings %}
        update {{ state_table('built_with') }} set settings = {{ built_with }}
        where model = '{{ this.identifier }}' and settings = '';
        {%- endif %}
        {%- if is_rebuild and flags.EMPTY %}
        delete from {{ state_table('consumed_batches') }} where model = '{{ this.identifier }}';
        {%- endif %}
        insert into {{ state_table('consumed_batches') }} (model, batch_id)
        select
            '{{ this.identifier }}',
            batch_id
        from {{ ref('int_landed_batches') }}
        where
            {%- if not is_rebuild %}
            is_pending
            and
            {%- endif %}
            {%- if not is_rebuild or 'model.' ~ project_name ~ '.int_landed_batches' in selected_resources %}
            invocation_id = '{{ invocation_id }}'
            and
            {%- endif %}
            batch_id not in (
                select batch_id
                from {{ state_table('consumed_batches') }}
                where model = '{{ this.identifier }}'
            )
            {%- if above %}
            and batch_id in (
                select batch_id
                from {{ state_table('consumed_batches') }}
                where model in ({{ above | join(', ') }})
                group by batch_id
                having count(distinct model) = {{ above | length }}
            )
            {%- endif %};
        {{- consume_queues() }}
{% endmacro %}


{# Two builds at once, which DuckDB's lock of the file prevents: the later one makes the tables of what was touched
   again, and the earlier one would delete by them what it has not read. The table of batches is made first, so a model
   looks whose it is right before it deletes. `dbt retry`, which has no selected resources, finds the table of the build
   that failed. #}
{% macro stop_on_another_build() %}
    {%- set makers = run_query('select distinct invocation_id from ' ~ ref('int_landed_batches')) -%}
    {%- for row in makers.rows if row[0] != invocation_id -%}
        {{ exceptions.raise_compiler_error(
            (
                "`dbt retry` leaves out the models that say what " ~ this.identifier ~ " must read, which was left as it was. Run"
                ~ " the same `dbt build` or `dbt run` again: it reads what is still pending"
            ) if not selected_resources else (
                "another dbt build (" ~ row[0] ~ ") has begun since this one: " ~ this.identifier ~ " was left as it was. Let"
                ~ " that one end, then run this one again"
            )
        ) }}
    {%- endfor -%}
{% endmacro %}


{# What the numbers of a model depend on beside the data: the vars, and the metric catalogue if the model or anything
   upstream reads it. A mart depends on the catalogue through the events: if they were rebuilt and the mart was not, the
   next build must stop too. So such a model names the catalogue among what it depends on, and a model of what requests
   to Customer.io say int_destination_calls. #}
{% macro settings() %}
    {%- set values = {} -%}
    {%- for name in [
        'conversion_lookback_days', 'conversion_offset_days', 'conversion_value_path', 'engagement_feeds', 'engagement_window_days',
        'match_lookback_days', 'match_skew_days', 'reporting_timezone',
    ] -%}
        {%- do values.update({name: var(name)}) -%}
    {%- endfor -%}
    {%- if execute and model.depends_on.nodes | select('equalto', 'seed.copymart.engagement_metrics') | list -%}
        {%- set catalogue = run_query(
            'select distinct metric, counts_as from ' ~ ref('engagement_metrics') ~ ' order by metric, counts_as'
        ) -%}
        {%- do values.update({'engagement_metrics': catalogue.rows | map('join', '=') | join(' ')}) -%}
    {%- endif -%}
    {%- if execute and 'model.copymart.int_touched_templates' in model.depends_on.nodes -%}
        {%- for name in ['max_segment_values', 'min_segment_people', 'prefer_human', 'segment_keys'] -%}
            {%- do values.update({name: var(name)}) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if execute and 'model.copymart.int_destination_calls' in model.depends_on.nodes -%}
        {%- for name in ['event_mapping', 'outbound_convert_timestamps'] -%}
            {%- do values.update({name: var(name)}) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(tojson(values, sort_keys=true)) }}
{% endmacro %}


{# What --empty built has no settings, and it has none itself, as the metric catalogue is empty. #}
{% macro stop_on_other_settings() %}
    {%- set built = run_query(
        'select settings from ' ~ state_table('built_with') ~ " where model = '" ~ this.identifier ~ "'"
    ) -%}
    {%- for row in built.rows if not flags.EMPTY and row[0] not in ('', settings()) -%}
        {{ exceptions.raise_compiler_error(
            this.identifier ~ " was built with other settings, and an incremental build would mix the two. Run"
            ~ " `dbt build --full-refresh`, or restore them.\n  built with: " ~ row[0] ~ "\n  now:        " ~ settings()
        ) }}
    {%- endfor -%}
{% endmacro %}
