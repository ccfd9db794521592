with

deliveries as (

    select * from {{ ref('fct_deliveries') }}

),

variants as (

    select * from {{ ref('variant_performance') }}

),

-- the best of the copies that are better than control by the template's key metric
winners as (

    select
        template_id,
        copy_id
    from variants
    where
        is_key_metric
        and time_window = 'all'
        and verdict = 'better'
    qualify row_number() over (partition by template_id order by lift_rank, copy_id) = 1

),

people as (

    select
        deliveries.user_id as id,
        winners.template_id as winning_template_id,
        winners.copy_id as winning_copy_id,
        deliveries.copy_id = winners.copy_id as got_winning_copy,
        row_number() over (
            partition by deliveries.user_id
            order by deliveries.last_called_at desc, deliveries.delivery_key desc
        ) as place
    from deliveries
    inner join winners
        on deliveries.template_id = winners.template_id
    where deliveries.user_id is not null

),

final as (

    select
        id,
        winning_template_id,
        winning_copy_id,
        got_winning_copy
    from people
    where place = 1

)

select * from final
