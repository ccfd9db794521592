-- R11: a control action belongs to one template, else its messages would have to be counted for two.
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
