{# A log of each template's settings in the owner's seeds, so that a changed row is a batch like any other and acts on
   history. Other models take these settings only from here (by int_current_settings): a model that read the seed could
   be rebuilt with rows that this log never saw, and when the seed went back nothing would look changed. A full refresh
   keeps the log: models outside of it must still lose what the old rows gave them, and a new log would reuse the batch
   ids of earlier changes. #}
{{ config(materialized='incremental', incremental_strategy='append', full_refresh=false) }}

{% set types = {
    'campaign_id': dbt.type_bigint(),
    'role': dbt.type_string(),
    'action_id': dbt.type_bigint(),
    'control_copy_id': dbt.type_string(),
    'control_template_id': dbt.type_string(),
    'key_metric': dbt.type_string(),
    'min_sends': dbt.type_bigint(),
    'control_share': 'double',
} %}

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
        {{ values_or_nulls(types, {'campaign_id': 'campaign_id', 'role': 'role', 'action_id': 'action_id'}) }},
        role || ' action ' || cast(action_id as {{ dbt.type_string() }})
        || coalesce(' of campaign ' || cast(campaign_id as {{ dbt.type_string() }}), '') as description
    from template_actions

    union all

    select
        template_id,
        {{ values_or_nulls(types, {'control_copy_id': 'lower(control_copy_id)'}) }},
        'control copy ' || lower(control_copy_id) as description
    from template_settings
    where control_copy_id is not null

    union all

    select
        template_id,
        {{ values_or_nulls(types, {'control_template_id': 'control_template_id'}) }},
        'control template ' || control_template_id as description
    from template_settings
    where control_template_id is not null

    union all

    select
        template_id,
        {{ values_or_nulls(types, {
            'key_metric': 'lower(key_metric)', 'min_sends': 'min_sends', 'control_share': 'control_share',
        }) }},
        'experiment'
        || coalesce(' on ' || lower(key_metric), '')
        || coalesce(' of ' || cast(min_sends as {{ dbt.type_string() }}) || ' sends', '')
        || coalesce(' with control at ' || cast(control_share as {{ dbt.type_string() }}), '') as description
    from template_settings
    where
        key_metric is not null
        or min_sends is not null
        or control_share is not null

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

-- a template without rows in the seeds gets one row without action and control
final as (

    select
        {{ surrogate_key(['changes.template_id', 'changes.change_number', 'changes.settings']) }} as batch_id,
        changes.template_id,
        cast(changes.change_number as {{ dbt.type_bigint() }}) as change_number,
        changes.settings,
        rows_of_seeds.role,
        rows_of_seeds.campaign_id,
        rows_of_seeds.action_id,
        rows_of_seeds.control_copy_id,
        rows_of_seeds.control_template_id,
        rows_of_seeds.key_metric,
        rows_of_seeds.min_sends,
        rows_of_seeds.control_share
    from changes
    left join rows_of_seeds
        on changes.template_id = rows_of_seeds.template_id

)

select * from final
