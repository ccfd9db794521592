with

outcomes as (

    select * from {{ ref('int_control_outcomes') }}

),

summed as (

    select
        delivery_date,
        template_id,
        {{ outcome_sums() }}
    from outcomes
    group by delivery_date, template_id

),

final as (

    select
        delivery_date,
        template_id,
        {% for metric in engagement_metrics() -%}
        {{ metric }},
        {{ metric }}_events,
        {% endfor -%}
        reached,
        {{ outcome_rates() }}
    from summed

)

select * from final
