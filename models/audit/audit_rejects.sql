with

files as (

    select * from {{ source('justai', 'landed_files') }}

),

call_rejects as (

    select * from {{ source('justai', 'justai_calls_rejects') }}

),

event_rejects as (

    select * from {{ source('customerio', 'customerio_events_rejects') }}

),

rejects as (

    select
        'justai_calls' as dataset,
        _file as source_file,
        _line as source_line,
        reason
    from call_rejects

    union all

    select
        'customerio_events' as dataset,
        _file as source_file,
        _line as source_line,
        reason
    from event_rejects

),

final as (

    select
        rejects.dataset,
        rejects.source_file,
        rejects.reason,
        count(*) as reject_count,
        min(rejects.source_line) as first_line,
        max(files.row_count + files.reject_count) as line_count,
        cast(count(*) as double) / max(files.row_count + files.reject_count) as reject_share
    from rejects
    inner join files
        on
            rejects.dataset = files.dataset
            and rejects.source_file = files.file
    group by rejects.dataset, rejects.source_file, rejects.reason

)

select * from final
