{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['happened_date'],
    meta={'touched': [{
        'model': 'int_touched_pipeline_calls',
        'on': {'message_id': 'message_id', 'happened_date': 'happened_date'},
    }]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

calls as (

    select * from {{ ref('stg_pipelines__calls') }}
    {% if is_incremental() -%}
    where message_id in (select message_id from {{ ref('int_touched_pipeline_calls') }})
    {{- and_between('happened_at', 'int_touched_pipeline_calls', 'happened_at') }}
    {%- endif %}

),

-- Customer.io ignores a repeated event, so the copy that was received first counts, in whatever order they landed
ranked as (

    select
        call_type,
        message_id,
        user_id,
        anonymous_id,
        previous_id,
        group_id,
        event_name,
        page_name,
        happened_ms,
        happened_at,
        properties,
        traits,
        context,
        integrations,
        source_file,
        source_line,
        row_number() over (
            partition by message_id
            order by coalesce(received_ms, happened_ms), happened_ms, source_file, source_line
        ) as copy_number
    from calls

),

final as (

    select
        message_id,
        call_type,
        user_id,
        anonymous_id,
        previous_id,
        group_id,
        event_name,
        page_name,
        happened_ms,
        happened_at,
        cast(happened_at as date) as happened_date,
        properties,
        traits,
        context,
        integrations,
        source_file,
        source_line
    from ranked
    where copy_number = 1

)

select * from final
