-- R11: a template whose control is itself would be compared with itself.
with

template_settings as (

    select * from {{ ref('template_settings') }}

),

final as (

    select template_id
    from template_settings
    where control_template_id = template_id

)

select * from final
