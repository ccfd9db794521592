with

{{ latest_sync_rows('customerio_attributes', ['internal_customer_id', 'attribute_name', 'timestamp']) }},

final as (

    select
        internal_customer_id,
        attribute_name,
        timestamp as changed_at,
        workspace_id,
        attribute_value,
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
