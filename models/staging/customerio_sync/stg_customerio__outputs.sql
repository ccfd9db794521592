with

{{ latest_sync_rows('customerio_outputs', ['output_id']) }},

final as (

    select
        output_id,
        workspace_id,
        action_id,
        manual_segment_id,
        split_test_index,
        branch_index,
        subject_name as journey_id,
        output_type,
        explanation,
        delivery_id,
        delay_ends_at,
        created_at,
        draft as is_draft,
        link_tracked as is_link_tracked,
        add_to_manual_segment as adds_to_manual_segment,
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
