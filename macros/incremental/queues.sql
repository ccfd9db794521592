{# What was touched is found here by comparing what a model holds with what it must hold. Once the model was built, the
   next build finds nothing, while others that read the same may have broken off. So a table of such rows is a queue: a
   row stays until all of its readers have marked its queue_id as read, beside the batches. #}

{# The rows of a queue: those of the CTE touched, with an id of this build, and those that one of its readers has not
   read. #}
{% macro rows_of_queue(queue, column, readers) -%}
    {%- set earlier = earlier_relation(queue, [column, 'queue_id']) -%}
    select
        {{ column }},
        '{{ queue }} ' || cast({{ moment_of_queue() }} as {{ dbt.type_string() }}) as queue_id
    from touched
    where {{ column }} is not null
    {%- if earlier %}

    union

    select
        {{ column }},
        queue_id
    from {{ earlier }}
    where
        queue_id not in (
            select batch_id
            from {{ source('copymart', 'consumed_batches') }}
            where model in ({{ quoted_list(readers) }})
            group by batch_id
            having count(distinct model) = {{ readers | length }}
        )
    {%- endif %}
{%- endmacro %}


{# When a queue was made, as what gives every build another id. On Snowflake a time as text is what the account's
   TIMESTAMP_OUTPUT_FORMAT says, perhaps a date only, and no two builds make a queue within a second. #}
{% macro moment_of_queue() -%}
    {{ return(adapter.dispatch('moment_of_queue')()) }}
{%- endmacro %}

{% macro duckdb__moment_of_queue() -%}
    {{ dbt.current_timestamp() }}
{%- endmacro %}

{% macro snowflake__moment_of_queue() -%}
    {{ timestamp_to_unix(dbt.current_timestamp()) }}
{%- endmacro %}


{# Before a run. A table that is there and that a queue compares with what it must hold (`compared_by` in its meta) is
   rebuilt only with the queue, which then takes everybody: the new table would not show any more whom the old one and
   the models after it still have otherwise. #}
{% macro require_queues() -%}
    {%- if execute and flags.WHICH in ('build', 'run') and flags.FULL_REFRESH -%}
        {%- for node in graph.nodes.values() if node.unique_id in selected_resources -%}
            {%- set queue = node.config.get('meta', {}).get('compared_by') -%}
            {%- if queue and 'model.' ~ project_name ~ '.' ~ queue not in selected_resources
                and adapter.get_relation(node.database, node.schema, node.alias) is not none -%}
                {{ exceptions.raise_compiler_error(
                    node.name ~ " cannot be rebuilt without " ~ queue ~ ", which finds by it what has changed. Select "
                    ~ queue ~ " as well, or " ~ queue ~ "+ for all that follows. Nothing was built"
                ) }}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}


{# What an earlier build made of a model, without the dependency that ref() would add; none if there is nothing with
   these columns. While dbt parses it is there, as is_incremental() is true then. #}
{% macro earlier_relation(name, columns) -%}
    {%- if not execute -%}
        {{ return(name) }}
    {%- endif -%}
    {%- set known = relation_of(name) -%}
    {%- if var('compile_incremental', none) is not none -%}
        {{ return(known if var('compile_incremental') else none) }}
    {%- elif this is none or flags.WHICH not in ('build', 'run') -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set relation = adapter.get_relation(known.database, known.schema, known.identifier) -%}
    {%- if relation is none -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set there = adapter.get_columns_in_relation(relation) | map(attribute='name') | map('lower') | list -%}
    {{ return(none if columns | reject('in', there) | list else relation) }}
{%- endmacro %}


{# Statements by which a model marks what it has read of queues; what is in a queue no more is forgotten. A build that
   did not make the queue has read nothing of it, nor has one whose queue another build made again. #}
{% macro consume_queues() %}
    {%- for queue in config.get('meta').get('queues', [])
        if 'model.' ~ project_name ~ '.' ~ queue in selected_resources %}
        delete from {{ state_table('consumed_batches') }}
        where
            model = '{{ this.identifier }}'
            and left(batch_id, {{ queue | length + 1 }}) = '{{ queue }} '
            and batch_id not in (select queue_id from {{ ref(queue) }});
        insert into {{ state_table('consumed_batches') }} (model, batch_id)
        select distinct
            '{{ this.identifier }}',
            queue_id
        from {{ ref(queue) }}
        where
            queue_id not in (
                select batch_id
                from {{ state_table('consumed_batches') }}
                where model = '{{ this.identifier }}'
            )
            and exists (
                select 1
                from {{ ref('int_landed_batches') }}
                where invocation_id = '{{ invocation_id }}'
            );
    {%- endfor %}
{% endmacro %}
