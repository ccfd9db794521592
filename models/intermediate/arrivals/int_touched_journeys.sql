{% set changed_or_control_ids = all_of([
    of_changed_templates('template_id'),
    of_changed_templates('control_template_id'),
]) %}

with

{{ pending() }},

touched_messages as (

    select * from {{ ref('int_touched_messages') }}

),

settings_changes as (

    select * from {{ ref('int_settings_changes') }}

),

{{ changed_templates() }},

-- with another control, other journeys of the template and of the one that it had or has for control count
changed_and_control_templates as (

    select template_id
    from changed_templates

    union

    select control_template_id as template_id
    from settings_changes
    where
        control_template_id is not null
        and template_id in (select template_id from changed_templates)

),

-- a message without a journey stands for itself
units as (

    select journey_id as unit_key
    from touched_messages
    where journey_id is not null

    union

    select delivery_id as unit_key
    from touched_messages
    where delivery_id is not null

    union

    select journey_id as unit_key
    from {{ ref('fct_deliveries') }}
    where
        journey_id is not null
        and template_id in (select template_id from changed_and_control_templates)
        {{- and_between('template_id', changed_or_control_ids, 'template_id') }}

),

final as (

    select unit_key
    from units

)

select * from final
