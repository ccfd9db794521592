with

files as (

    select * from {{ source('justai', 'landed_files') }}

),

rejects as (
    {% for source_name, table in landing_datasets() %}
    select
        '{{ table }}' as dataset,
        _file as source_file,
        _line as source_line,
        reason
    from {{ source(source_name, table ~ '_rejects') }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
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
