-- A metric counts by its name on every channel. So the catalogue must not map one name to two metrics, and each metric
-- must have columns in the marts.
with

catalogue as (

    select * from {{ ref('engagement_metrics') }}

),

final as (

    select metric
    from catalogue
    group by metric
    having
        count(distinct coalesce(counts_as, '')) > 1
        or max(case
            when
                counts_as not in (
                    {%- for metric in engagement_metrics() if not metric.startswith('human_') -%}
                        '{{ metric }}'{{ ', ' if not loop.last }}
                    {%- endfor -%}
                )
                then 1
            else 0
        end) = 1

)

select * from final
