{# A log of what the owner's seeds said of each template, so that a changed row is an arrival like any other: it acts on
   history. #}
{{ config(materialized='incremental', incremental_strategy='append') }}

with

template_actions as (

    select * from {{ ref('template_actions') }}

),

template_settings as (

    select * from {{ ref('template_settings') }}

),

rows_of_seeds as (

    select
        template_id,
        action_id,
        cast(null as {{ dbt.type_string() }}) as control_copy_id,
        role || ' ' || cast(action_id as {{ dbt.type_string() }})
        || coalesce(' in ' || cast(campaign_id as {{ dbt.type_string() }}), '') as description
    from template_actions

    union all

    select
        template_id,
        cast(null as {{ dbt.type_bigint() }}) as action_id,
        lower(control_copy_id) as control_copy_id,
        'control copy ' || lower(control_copy_id) as description
    from template_settings
    where control_copy_id is not null

),

templates as (

    select
        template_id,
        {{ dbt.listagg('description', "', '", 'order by description') }} as settings
    from rows_of_seeds
    group by template_id

),

{% if is_incremental() -%}
logged as (

    select distinct
        template_id,
        change_number,
        settings
    from {{ this }}

),
{%- else -%}
logged as (

    select
        template_id,
        0 as change_number,
        settings
    from templates
    where false

),
{%- endif %}

numbered as (

    select
        template_id,
        change_number,
        settings,
        max(change_number) over (partition by template_id) as last_number
    from logged

),

latest as (

    select
        template_id,
        change_number,
        settings
    from numbered
    where change_number = last_number

),

changes as (

    select
        coalesce(templates.template_id, latest.template_id) as template_id,
        coalesce(latest.change_number, 0) + 1 as change_number,
        coalesce(templates.settings, '') as settings
    from templates
    full outer join latest
        on templates.template_id = latest.template_id
    where coalesce(templates.settings, '') != coalesce(latest.settings, '')

),

-- a template whose rows are gone has one row without action and copy
final as (

    select
        {{ surrogate_key(['changes.template_id', 'changes.change_number', 'changes.settings']) }} as batch_id,
        changes.template_id,
        cast(changes.change_number as {{ dbt.type_bigint() }}) as change_number,
        changes.settings,
        rows_of_seeds.action_id,
        rows_of_seeds.control_copy_id
    from changes
    left join rows_of_seeds
        on changes.template_id = rows_of_seeds.template_id

)

select * from final
