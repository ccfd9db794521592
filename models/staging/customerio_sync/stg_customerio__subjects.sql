with

{{ latest_sync_rows('customerio_subjects', ['subject_name']) }},

final as (

    select
        subject_name as journey_id,
        workspace_id,
        campaign_id,
        trigger_id,
        internal_customer_id,
        campaign_type,
        event_id as trigger_event_id,
        created_at,
        started_campaign_at,
        other as other_fields,
        schema_version,
        sequence,
        seq_num,
        content_hash,
        _file as source_file,
        _line as source_line,
        _loaded_at as loaded_at,
        _batch_id as batch_id
    from latest_rows

)

select * from final
