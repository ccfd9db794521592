{# What has been built from what: which landing batches each incremental model has consumed, and with which settings it
   was built. Both tables lie beside the landing tables and are written in the transaction of the model. #}
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


{# The names of the incremental models as a list of SQL literals. #}
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


{# Post-hook. A model built anew has read everything that had landed when the run began, an incremental run what was
   pending then; what landed meanwhile is left for the next run. A model that is built without the models that tell what is
   pending and what that touched has read nothing that they did not tell before. #}
{% macro consume_batches() %}
    {%- if config.get('incremental_strategy') == 'replace_touched' -%}
        {{ adapter.dispatch('in_one_transaction')(consume_statements()) }}
    {%- endif -%}
{% endmacro %}

{% macro consume_statements() %}
    {%- set anew = not is_incremental() %}
        {%- if anew %}
        delete from {{ state_table('built_with') }} where model = '{{ this.identifier }}';
        insert into {{ state_table('built_with') }} (model, settings)
        values ('{{ this.identifier }}', {{ dbt.string_literal(dbt.escape_single_quotes(settings())) }});
        {%- endif %}
        insert into {{ state_table('consumed_batches') }} (model, batch_id)
        select
            '{{ this.identifier }}',
            batch_id
        from {{ ref('int_landed_batches') }}
        where
            {%- if not anew %}
            is_pending
            and run_id = '{{ invocation_id }}'
            and
            {%- endif %}
            batch_id not in (
                select batch_id
                from {{ state_table('consumed_batches') }}
                where model = '{{ this.identifier }}'
            );
{% endmacro %}


{# What the numbers of a model follow from beside the data: the vars, and for whoever reads it the metric catalogue. #}
{% macro settings() %}
    {%- set values = {} -%}
    {%- for name in ['engagement_window_days', 'match_lookback_days', 'match_skew_days', 'reporting_timezone'] -%}
        {%- do values.update({name: var(name)}) -%}
    {%- endfor -%}
    {%- if execute and model.depends_on.nodes | select('equalto', 'seed.copymart.engagement_metrics') | list -%}
        {%- set catalogue = run_query(
            'select distinct metric, counts_as from ' ~ ref('engagement_metrics') ~ ' order by metric, counts_as'
        ) -%}
        {%- do values.update({'engagement_metrics': catalogue.rows | map('join', '=') | join(' ')}) -%}
    {%- endif -%}
    {{ return(tojson(values, sort_keys=true)) }}
{% endmacro %}


{% macro stop_on_other_settings() %}
    {%- set built = run_query(
        'select settings from ' ~ state_table('built_with') ~ " where model = '" ~ this.identifier ~ "'"
    ) -%}
    {%- for row in built.rows if row[0] != settings() -%}
        {{ exceptions.raise_compiler_error(
            this.identifier ~ " was built with other settings, and an incremental build would mix the two. Run"
            ~ " `dbt build --full-refresh`, or set them back.\n  built with: " ~ row[0] ~ "\n  now:        " ~ settings()
        ) }}
    {%- endfor -%}
{% endmacro %}
