with

{{ latest_sync_rows('customerio_deliveries', ['delivery_id']) }},

final as (

    select
        delivery_id,
        workspace_id,
        campaign_id,
        action_id,
        newsletter_id,
        content_id,
        trigger_id,
        transactional_message_id,
        internal_customer_id,
        subject_id as journey_id,
        event_id as trigger_event_id,
        {{ channel_of(plain_name('delivery_type')) }} as channel,
        created_at,
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
