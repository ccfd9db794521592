with

{{ latest_sync_rows('customerio_delivery_content', ['delivery_id']) }},

final as (

    select
        delivery_id,
        workspace_id,
        campaign_id,
        action_id,
        newsletter_id,
        content_id,
        from_address,
        reply_to,
        bcc,
        recipient,
        subject,
        body,
        body_amp,
        body_plain,
        preheader,
        url,
        method,
        headers,
        {{ channel_of(plain_name('type')) }} as channel,
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
