with

{{ latest_sync_rows('customerio_metrics', ['event_id']) }},

final as (

    select
        event_id as metric_id,
        workspace_id,
        cast(link_id as {{ dbt.type_string() }}) as link_id,
        delivery_id,
        {{ plain_name('metric') }} as metric,
        reason as failure_message,
        link_url as href,
        user_agent,
        email_client,
        inbox_domain,
        inbox_provider,
        mx_host,
        {{ timestamp_to_unix('created_at') }} as event_timestamp,
        created_at as event_at,
        proxied as is_proxied,
        prefetched as is_prefetched,
        machine as is_machine_click,
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
