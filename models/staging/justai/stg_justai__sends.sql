{# The tests of this view run before the run has marked its batches as read: a batch that no model has read is new. #}
{{ config(meta={'new_batches': 'batch_id'}) }}

with

source as (

    select * from {{ source('justai', 'justai_sends') }}

),

final as (

    select
        event_timestamp,
        {{ unix_to_timestamp('event_timestamp') }} as called_at,
        user_id,
        campaign_id,
        action_id,
        journey_id,
        copy_id,
        attrs,
        _file as source_file,
        _line as source_line,
        _loaded_at as loaded_at,
        _batch_id as batch_id
    from source

)

select * from final
