with

deliveries as (

    select * from {{ ref('fct_deliveries') }}

),

outcomes as (

    select * from {{ ref('int_delivery_outcomes') }}

),

template_settings as (

    select * from {{ ref('template_settings') }}

),

control_copies as (

    select distinct lower(control_copy_id) as copy_id
    from template_settings
    where control_copy_id is not null

),

summed as (

    select
        deliveries.delivery_date,
        deliveries.copy_id,
        max(
            {{ ordered_key(timestamp_to_unix('deliveries.last_called_at'), 'deliveries.delivery_key') }}
        ) as newest_delivery,
        cast(sum(deliveries.call_count) as {{ dbt.type_bigint() }}) as api_calls,
        cast(count(*) as {{ dbt.type_bigint() }}) as served,
        {{ outcome_sums() }}
    from deliveries
    left join outcomes
        on deliveries.delivery_key = outcomes.delivery_key
    group by deliveries.delivery_date, deliveries.copy_id

),

final as (

    select
        summed.delivery_date,
        summed.copy_id,
        deliveries.template_id,
        deliveries.campaign_id,
        control_copies.copy_id is not null as is_control,
        summed.api_calls,
        summed.served,
        {% for metric in engagement_metrics() -%}
        summed.{{ metric }},
        summed.{{ metric }}_events,
        {% endfor -%}
        summed.reached,
        {{ outcome_rates() }}
    from summed
    inner join deliveries
        on {{ key_of('summed.newest_delivery') }} = deliveries.delivery_key
    left join control_copies
        on summed.copy_id = control_copies.copy_id

)

select * from final
