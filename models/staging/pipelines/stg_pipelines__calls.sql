{# The tests of this view run before the run has marked its batches as read: a batch that no model has read is new. #}
{{ config(meta={'new_batches': 'batch_id'}) }}

with

source as (

    select * from {{ source('pipelines', 'pipeline_calls') }}

),

timed as (

    select
        type as call_type,
        message_id,
        user_id,
        anonymous_id,
        previous_id,
        group_id,
        event as event_name,
        name as page_name,
        {{ source_call_millis('source') }} as happened_ms,
        received_at as received_ms,
        properties,
        traits,
        context,
        integrations,
        _file as source_file,
        _line as source_line,
        _loaded_at as loaded_at,
        _batch_id as batch_id
    from source

),

final as (

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
        {{ millis_to_timestamp('happened_ms') }} as happened_at,
        received_ms,
        properties,
        traits,
        context,
        integrations,
        source_file,
        source_line,
        loaded_at,
        batch_id
    from timed

)

select * from final
