{{ config(materialized='view') }}

with

contents as (

    select * from {{ ref('int_copy_contents_daily') }}

),

versions as (

    select * from {{ ref('dim_copy_variants') }}

),

-- a text that returns on the day that it was changed counts in the version that was called last
ranked as (

    select
        contents.copy_id,
        contents.content_hash,
        contents.unit_date,
        versions.version_key,
        row_number() over (
            partition by contents.copy_id, contents.content_hash, contents.unit_date
            order by versions.valid_from desc
        ) as place
    from contents
    inner join versions
        on
            contents.copy_id = versions.copy_id
            and contents.content_hash = versions.content_hash
            and contents.last_started_at >= versions.valid_from

),

final as (

    select
        versions.version_key,
        contents.copy_id,
        versions.version_number,
        contents.content_hash,
        contents.template_id,
        versions.change_type,
        versions.valid_from,
        versions.valid_to,
        contents.unit_date as delivery_date,
        contents.units as served,
        contents.sent,
        contents.reached
        {%- for compared in compared_metrics() %},
        contents.{{ compared.metric }}
        {%- endfor %}
        {%- for compared in compared_metrics() %},
        cast(contents.{{ compared.metric }} as double)
        / nullif(contents.{{ compared.trials }}, 0) as {{ compared.metric }}_rate
        {%- endfor %}
    from contents
    left join ranked
        on
            contents.copy_id = ranked.copy_id
            and contents.content_hash = ranked.content_hash
            and contents.unit_date = ranked.unit_date
            and ranked.place = 1
    left join versions
        on ranked.version_key = versions.version_key

)

select * from final
