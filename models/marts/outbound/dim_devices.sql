with

timeline as (

    select * from {{ ref('int_person_timeline') }}
    where action in ('create_or_update_device', 'delete_device')

),

written as (

    select
        person_key,
        request_number,
        happened_at,
        action,
        is_gone,
        {{ json_value('payload', 'device') }} as device
    from timeline

),

named as (

    select
        person_key,
        request_number,
        happened_at,
        action,
        is_gone,
        {{ json_member('device', 'token') }} as token,
        {{ json_member('device', 'platform') }} as platform,
        coalesce({{ json_value('device', 'attributes') }}, '{}') as attributes
    from written

),

ranked as (

    select
        person_key,
        token,
        platform,
        attributes,
        happened_at,
        action,
        is_gone,
        row_number() over (partition by person_key, token order by request_number desc) as recency
    from named

),

final as (

    select
        person_key,
        token,
        platform,
        attributes,
        happened_at as last_used_at
    from ranked
    where
        recency = 1
        and action = 'create_or_update_device'
        and not is_gone

)

select * from final
