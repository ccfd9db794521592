with

{{ latest_sync_rows('customerio_people', ['internal_customer_id']) }},

final as (

    select
        internal_customer_id,
        workspace_id,
        customer_id as user_id,
        email_addr as email,
        created_at,
        updated_at,
        deleted as is_deleted,
        suppressed as is_suppressed,
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
