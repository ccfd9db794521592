{# The tests of this view run before the run has marked its batches as read: a batch that no model has read is new. #}
{{ config(meta={'new_batches': 'batch_id'}) }}

with

source as (

    select * from {{ source('justai', 'justai_variants') }}

),

files as (

    select * from {{ source('justai', 'landed_files') }}
    where dataset = 'justai_variants'

),

-- a variant of a file without an hour holds for all time: from the year 1
final as (

    select
        source.copy_id,
        source.template_id,
        source.vars,
        coalesce({{ timestamp_to_unix('files.path_hour') }}, -62135596800) as valid_from_timestamp,
        source._file as source_file,
        source._line as source_line,
        source._loaded_at as loaded_at,
        source._batch_id as batch_id
    from source
    inner join files
        on source._file = files.file

)

select * from final
