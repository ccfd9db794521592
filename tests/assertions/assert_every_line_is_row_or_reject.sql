-- R1: for each landed file, the ledger's counts equal the rows in the tables. A failure means that rows were changed
-- outside `copymart land`: set the file's content_hash in staging.landed_files to null and land it again.
{{ config(severity='error') }}

{% set of_files -%}
    {%- if var('test_scope') == 'changed' %}where _file in (select file from files){% endif -%}
{%- endset %}

with

files as (

    select * from {{ source('justai', 'landed_files') }}
    where true {{ and_new_batch('batch_id') }}

),

lines as (

    select
        'justai_calls' as dataset,
        _file,
        1 as is_row
    from {{ source('justai', 'justai_calls') }}
    {{ of_files }}

    union all

    select
        'justai_calls' as dataset,
        _file,
        0 as is_row
    from {{ source('justai', 'justai_calls_rejects') }}
    {{ of_files }}

    union all

    select
        'justai_sends' as dataset,
        _file,
        1 as is_row
    from {{ source('justai', 'justai_sends') }}
    {{ of_files }}

    union all

    select
        'justai_sends' as dataset,
        _file,
        0 as is_row
    from {{ source('justai', 'justai_sends_rejects') }}
    {{ of_files }}

    union all

    select
        'justai_variants' as dataset,
        _file,
        1 as is_row
    from {{ source('justai', 'justai_variants') }}
    {{ of_files }}

    union all

    select
        'justai_variants' as dataset,
        _file,
        0 as is_row
    from {{ source('justai', 'justai_variants_rejects') }}
    {{ of_files }}

    union all

    select
        'customerio_events' as dataset,
        _file,
        1 as is_row
    from {{ source('customerio', 'customerio_events') }}
    {{ of_files }}

    union all

    select
        'customerio_events' as dataset,
        _file,
        0 as is_row
    from {{ source('customerio', 'customerio_events_rejects') }}
    {{ of_files }}

),

counted as (

    select
        dataset,
        _file,
        sum(is_row) as row_count,
        count(*) - sum(is_row) as reject_count
    from lines
    group by dataset, _file

),

final as (

    select
        coalesce(files.dataset, counted.dataset) as dataset,
        coalesce(files.file, counted._file) as source_file,
        files.row_count,
        counted.row_count as rows_found,
        files.reject_count,
        counted.reject_count as rejects_found
    from files
    full outer join counted
        on
            files.dataset = counted.dataset
            and files.file = counted._file
    where
        files.file is null
        or files.row_count != coalesce(counted.row_count, 0)
        or files.reject_count != coalesce(counted.reject_count, 0)

)

select * from final
