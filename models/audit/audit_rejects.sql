with

files as (

    select * from {{ source('justai', 'landed_files') }}

),

call_rejects as (

    select * from {{ source('justai', 'justai_calls_rejects') }}

),

send_rejects as (

    select * from {{ source('justai', 'justai_sends_rejects') }}

),

variant_rejects as (

    select * from {{ source('justai', 'justai_variants_rejects') }}

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
        'justai_sends' as dataset,
        _file as source_file,
        _line as source_line,
        reason
    from send_rejects

    union all

    select
        'justai_variants' as dataset,
        _file as source_file,
        _line as source_line,
        reason
    from variant_rejects

    union all

    select
        'customerio_events' as dataset,
        _file as source_file,
        _line as source_line,
        reason
    from event_rejects

),

counted as (

    select
        dataset,
        source_file,
        reason,
        count(*) as reject_count,
        min(source_line) as first_line
    from rejects
    group by dataset, source_file, reason

),

final as (

    select
        counted.dataset,
        counted.source_file,
        counted.reason,
        counted.reject_count,
        counted.first_line,
        files.row_count + files.reject_count as line_count,
        cast(files.reject_count as double) / (files.row_count + files.reject_count) as file_reject_share
    from counted
    inner join files
        on
            counted.dataset = files.dataset
            and counted.source_file = files.file

)

select * from final
