-- R11: a control action belongs to one template; otherwise its messages would count for two.
with

template_actions as (

    select * from {{ ref('template_actions') }}

),

final as (

    select action_id
    from template_actions
    where role = 'control'
    group by action_id
    having count(distinct template_id) > 1

)

select * from final
