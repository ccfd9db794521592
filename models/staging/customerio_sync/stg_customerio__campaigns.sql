with

{{ latest_sync_rows('customerio_campaigns', ['campaign_id']) }},

final as (

    select
        campaign_id,
        workspace_id,
        version,
        name,
        topic_names,
        created_at,
        updated_at,
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
