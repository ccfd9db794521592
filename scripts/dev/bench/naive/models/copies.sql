select
    copy_id,
    template_id,
    vars,
    vars->>'$.subject' as subject,
    vars->>'$.preheader' as preheader,
    vars->>'$.body' as body
from {{ ref('calls') }}
qualify row_number() over (partition by copy_id order by event_timestamp desc, vars) = 1
