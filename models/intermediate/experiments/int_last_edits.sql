{{ config(materialized='view') }}

with

templates as (

    select * from {{ ref('int_experiment_templates') }}

),

variants as (

    select * from {{ ref('dim_copy_variants') }}

),

edits as (

    select
        copy_id,
        template_id,
        {{ reporting_date('valid_from') }} as edit_date
    from variants
    where version_number > 1

),

edits_of_controls as (

    select
        templates.template_id,
        'control' as arm,
        edits.edit_date
    from templates
    inner join edits
        on templates.control_copy_id = edits.copy_id

    union all

    select
        templates.template_id,
        'control' as arm,
        edits.edit_date
    from templates
    inner join edits
        on templates.control_template_id = edits.template_id

),

-- a copy may have moved from one template to another, so its edits count in each
edits_of_arms as (

    select
        template_id,
        arm,
        edit_date
    from edits_of_controls

    union all

    select
        cast(null as {{ dbt.type_string() }}) as template_id,
        copy_id as arm,
        edit_date
    from edits

),

final as (

    select
        template_id,
        arm,
        max(edit_date) as last_edit_date
    from edits_of_arms
    group by template_id, arm

)

select * from final
