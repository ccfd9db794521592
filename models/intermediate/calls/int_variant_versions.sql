{# A view: as a table it would be as old as its last build in `--full-refresh --select model+` of a model beside it, and
   calls built from it would count as read. #}
{{ config(materialized='view') }}

with

variants as (

    select * from {{ ref('stg_justai__variants') }}

),

-- of the files of one hour the last one by name counts, and of its lines the last
numbered as (

    select
        copy_id,
        template_id,
        vars,
        valid_from_timestamp,
        row_number() over (
            partition by copy_id, valid_from_timestamp
            order by source_file desc, source_line desc
        ) as place
    from variants

),

compared as (

    select
        copy_id,
        template_id,
        vars,
        valid_from_timestamp,
        lag(template_id) over (partition by copy_id order by valid_from_timestamp) as previous_template_id,
        lag(vars) over (partition by copy_id order by valid_from_timestamp) as previous_vars
    from numbered
    where place = 1

),

-- an export repeats its variants every day: a version lasts as long as they are the same
changes as (

    select
        copy_id,
        template_id,
        vars,
        valid_from_timestamp
    from compared
    where
        previous_template_id is null
        or previous_template_id != template_id
        or previous_vars != vars

),

final as (

    select
        copy_id,
        template_id,
        vars,
        valid_from_timestamp,
        lead(valid_from_timestamp) over (partition by copy_id order by valid_from_timestamp) as valid_to_timestamp
    from changes

)

select * from final
