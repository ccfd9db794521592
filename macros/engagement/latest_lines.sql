{# CTEs that leave out of `landed` the lines that another line of the same event replaces, and the lines that landed
   since the run began: the next run reads those, with all that they touch. `latest_lines` has the columns of `landed`. #}
{% macro latest_lines() -%}
replaced_lines as (

    select
        source_file,
        source_line
    from {{ ref('int_repeated_events') }}
    where not is_latest

),

{{ known_lines() }},

latest_lines as (

    select known_lines.*
    from known_lines
    left join replaced_lines
        on
            known_lines._file = replaced_lines.source_file
            and known_lines._line = replaced_lines.source_line
    where replaced_lines.source_line is null

)
{%- endmacro %}


{# CTEs that leave out of `landed` the lines that landed since the run began. #}
{% macro known_lines() -%}
newer_batches as (

    select batch_id
    from {{ source('justai', 'landed_batches') }}
    where batch_id not in (select batch_id from {{ ref('int_landed_batches') }})

),

known_lines as (

    select landed.*
    from landed
    left join newer_batches
        on landed._batch_id = newer_batches.batch_id
    where newer_batches.batch_id is null

)
{%- endmacro %}
